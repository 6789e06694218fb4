package io.github.dskeras.bundle;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The checked content of {@code bundle.json}. Its collections cannot be changed; treat its arrays as constants. */
public final class Manifest {
    static final String INDEX = "bundle.json";
    static final String FORMAT = "ds_keras.bundle";
    static final int ALIGNMENT = 64; // bytes, of a kernel in a file
    static final int TASK_VERSION = 4; // of a bundle that names its task; its files may copy a kernel again
    static final int MAX_COPIES = 16; // of one kernel in such a file: they bound the file by the size of the kernels
    private static final int MAX_CLASSES = 10000; // of a detector
    private static final int MAX_SCORES = 1 << 24; // of a detector: boxes x classes
    private static final Map<Object, Integer> DTYPES = dtypes();

    /** A part: its size and hash. */
    static final class Part {
        final long bytes;
        final String sha256;

        Part(long bytes, String sha256) {
            this.bytes = bytes;
            this.sha256 = sha256;
        }
    }

    /** A full kernel: where it lies in the kernels' part. */
    static final class Kernel {
        final long offset;
        final long[] shape;

        Kernel(long offset, long[] shape) {
            this.offset = offset;
            this.shape = shape;
        }
    }

    /** A file's template: its part, and the size and hash of the file made from it. */
    static final class Template {
        final String part;
        final Part made;

        Template(String part, Part made) {
            this.part = part;
            this.made = made;
        }
    }

    /** Task of a bundle whose levels give "logits". */
    public static final String CLASSIFICATION = "classification";
    /** Task of a bundle whose levels give "boxes" and "scores". */
    public static final String DETECTION = "detection";

    /** Name of the model. */
    public final String name;
    /** Height, width and channels of an image. */
    public final int[] imageShape;
    /** {@link #CLASSIFICATION} or {@link #DETECTION}. */
    public final String task;
    /** Classes of the logits, or of the boxes. */
    public final int numClasses;
    /** What every level gives for one image: shapes by name. */
    public final Map<String, int[]> outputs;
    /** A name for each class, or null. */
    public final List<String> labels;
    /** Multiply-adds of the shared start. */
    public final long startMadds;
    /** Multiply-adds of the gate. */
    public final long gateMadds;
    /** Multiply-adds of each level's body. */
    public final long[] bodyMadds;
    /** Licence of the weights, or null. */
    public final String licence;
    /** "gate", "cascade" (a String) or a level (an Integer). */
    public final Object defaultPolicy;
    /** Levels of the cascade: two or more, smaller ones first. */
    public final int[] cascade;
    /** By what the cascade of a detector goes on, see {@link Doubt}; null where the bundle has no cascade of a detector. */
    public final String confidence;
    /** Knobs by policy as exported: the gate's shift; a threshold for each level of the cascade but the last. */
    public final Map<String, List<Double>> knobs;
    /** Rows by policy ("gate", "cascade", "levels"), by rising cost. */
    public final Map<String, List<Row>> budgetTable;

    final int formatVersion;
    final Map<String, Part> parts;
    final String kernelsPart;
    final int elementSize;
    final Map<String, Kernel> kernels;
    final Map<String, Template> files;

    /**
     * Checks a manifest and takes its values.
     *
     * @param value decoded JSON
     * @throws BundleException where a value is missing, has another type, or lies outside its range
     */
    Manifest(Object value) throws BundleException {
        Map<String, Object> json = Check.object(value, "a manifest");
        Object format = Check.field(json, "format");
        Check.need(FORMAT.equals(format), "format '" + FORMAT + "'", format);
        Object version = Check.field(json, "format_version");
        boolean known = version instanceof Long && (Long) version >= 2 && (Long) version <= TASK_VERSION;
        Check.need(known, "format_version 2, 3 or 4", version);
        formatVersion = ((Long) version).intValue();
        name = Check.string(Check.field(json, "name"), "a name");
        long[] shape = Check.shape(Check.field(json, "image_shape"), Check.MAX_SIDE);
        Check.need(shape.length == 3, "image_shape of three numbers", json.get("image_shape"));
        imageShape = new int[] {(int) shape[0], (int) shape[1], (int) shape[2]};
        task = formatVersion == TASK_VERSION ? DETECTION : CLASSIFICATION;
        boolean boxes = task.equals(DETECTION);
        Check.need(!boxes || DETECTION.equals(json.get("task")), "task '" + DETECTION + "'", json.get("task"));
        long most = boxes ? MAX_CLASSES : Check.MAX_SIDE;
        numClasses = (int) Check.whole(Check.field(json, "num_classes"), boxes ? 1 : 2, most);
        outputs = boxes ? outputs(Check.object(Check.field(json, "outputs"), "outputs"), numClasses) : logits(numClasses);
        Object terms = Check.field(json, "licence");
        licence = terms == null ? null : Check.string(terms, "licence: null or a text");
        labels = labels(Check.field(json, "labels"), numClasses);
        parts = parts(Check.object(Check.field(json, "parts"), "parts"));
        Map<String, Object> stored = Check.object(Check.field(json, "kernels"), "kernels");
        kernelsPart = listed(Check.field(stored, "part"));
        Object dtype = Check.field(stored, "dtype");
        Check.need(DTYPES.containsKey(dtype), "dtype of " + DTYPES.keySet(), dtype);
        elementSize = DTYPES.get(dtype);
        kernels = kernels(Check.object(Check.field(stored, "index"), "an index of the kernels"));
        Map<String, Object> costs = Check.object(Check.field(json, "madds"), "madds");
        startMadds = Check.whole(Check.field(costs, "start"), 0, 1L << 53);
        gateMadds = Check.whole(Check.field(costs, "gate"), 0, 1L << 53);
        List<Object> body = Check.list(Check.field(costs, "body"), "madds of the bodies");
        Check.need(!body.isEmpty() && body.size() <= 1000, "madds of 1 to 1000 bodies", body.size());
        bodyMadds = new long[body.size()];
        for (int i = 0; i < bodyMadds.length; i++) {
            bodyMadds[i] = Check.whole(body.get(i), 0, 1L << 53);
        }
        Check.need(bodyMadds[bodyMadds.length - 1] > 0, "madds of the largest level above 0", body);
        files = files(Check.object(Check.field(json, "files"), "files"));
        Map<String, Object> policy = Check.object(Check.field(json, "policy"), "policy");
        defaultPolicy = policy(Check.field(policy, "default"));
        cascade = cascade(Check.list(Check.field(policy, "cascade"), "cascade"));
        knobs = knobs(Check.object(Check.field(policy, "knobs"), "knobs by policy"));
        budgetTable = table(Check.object(Check.field(policy, "budget_table"), "a budget_table"));
        confidence = boxes ? confidence(policy.get("confidence")) : null;
    }

    /**
     * Counts the levels.
     *
     * @return how many there are
     */
    public int numLevels() {
        return bodyMadds.length;
    }

    /**
     * Names the files that the bundle's parts make.
     *
     * @return "route", then "entry_k" for every level k, then "body_k"
     */
    public List<String> fileNames() {
        List<String> found = new ArrayList<>(Collections.singletonList("route"));
        for (String kind : new String[] {"entry_", "body_"}) {
            for (int level = 0; level < numLevels(); level++) {
                found.add(kind + level);
            }
        }
        return found;
    }

    /**
     * Names the files that a policy runs, in the order in which an image meets them.
     *
     * @param policy "gate", "cascade" (a String) or a level (an Integer), as {@link #defaultPolicy}
     * @return some of {@link #fileNames()}
     * @throws IllegalArgumentException for another policy
     */
    public List<String> fileNames(Object policy) {
        if (policy instanceof Integer) {
            return Collections.singletonList("entry_" + Router.checkLevel((Integer) policy, numLevels()));
        }
        Router.checkLearned(String.valueOf(policy));
        boolean gated = Router.GATE.equals(policy);
        List<String> found = new ArrayList<>();
        found.add(gated ? "route" : "entry_" + cascade[0]);
        for (int i = gated ? 0 : 1; i < (gated ? numLevels() : cascade.length); i++) {
            found.add("body_" + (gated ? i : cascade[i]));
        }
        return found;
    }

    /**
     * Counts the numbers of a shape.
     *
     * @param shape of {@link #outputs}
     * @return their number
     */
    public static int count(int[] shape) {
        int count = 1;
        for (int side : shape) {
            count *= side;
        }
        return count;
    }

    private static Map<String, int[]> logits(int classes) {
        return Collections.singletonMap("logits", new int[] {classes});
    }

    private static Map<String, int[]> outputs(Map<String, Object> json, int classes) throws BundleException {
        boolean both = json.size() == 2 && json.containsKey("boxes") && json.containsKey("scores");
        Check.need(both, "outputs: boxes and scores", json);
        long[] boxes = Check.shape(json.get("boxes"), MAX_SCORES);
        long[] scores = Check.shape(json.get("scores"), MAX_SCORES);
        boolean sound = Arrays.equals(boxes, new long[] {boxes[0], 4})
                && Arrays.equals(scores, new long[] {boxes[0], classes});
        Check.need(sound, "a box and its scores in each row", json);
        Check.need(boxes[0] * classes <= MAX_SCORES, "at most " + MAX_SCORES + " scores", json);
        Map<String, int[]> found = new LinkedHashMap<>();
        found.put("boxes", new int[] {(int) boxes[0], 4});
        found.put("scores", new int[] {(int) boxes[0], classes});
        return Collections.unmodifiableMap(found);
    }

    /** Refuses the name of a file that there is not. */
    void checkFile(String name) {
        if (!files.containsKey(name)) {
            throw new IllegalArgumentException("a file of " + files.keySet() + ", received '" + name + "'");
        }
    }

    private static Map<Object, Integer> dtypes() {
        Map<Object, Integer> bytes = new LinkedHashMap<>(); // of a kernel's number
        bytes.put("float32", 4);
        bytes.put("float16", 2);
        bytes.put("int8", 1);
        return Collections.unmodifiableMap(bytes);
    }

    private static List<String> labels(Object value, int classes) throws BundleException {
        if (value == null) {
            return null;
        }
        List<Object> given = Check.list(value, "labels");
        Check.need(given.size() == classes, "labels: null, or a name for each class", value);
        List<String> found = new ArrayList<>();
        for (Object label : given) {
            found.add(Check.string(label, "labels: null, or a name for each class"));
        }
        return Collections.unmodifiableList(found);
    }

    private static Map<String, Part> parts(Map<String, Object> json) throws BundleException {
        Map<String, Part> found = new LinkedHashMap<>();
        for (Map.Entry<String, Object> entry : json.entrySet()) {
            String part = entry.getKey();
            Check.need(Check.isName(part) && !part.equals(INDEX), "names of parts without folders", part);
            found.put(part, part(Check.object(entry.getValue(), "a part"), "bytes"));
        }
        return Collections.unmodifiableMap(found);
    }

    private static Part part(Map<String, Object> json, String size) throws BundleException {
        long bytes = Check.whole(Check.field(json, size), 1, Check.MAX_COUNT);
        return new Part(bytes, Check.hash(Check.field(json, "sha256")));
    }

    private String listed(Object part) throws BundleException {
        Check.need(part instanceof String && parts.containsKey(part), "a part that is listed", part);
        return (String) part;
    }

    private Map<String, Kernel> kernels(Map<String, Object> index) throws BundleException {
        Map<String, Kernel> found = new LinkedHashMap<>();
        long end = 0;
        for (Map.Entry<String, Object> entry : index.entrySet()) {
            List<Object> pair = Check.list(entry.getValue(), "a kernel's offset and shape");
            Check.need(pair.size() == 2, "a kernel's offset and shape", pair);
            long offset = Check.whole(pair.get(0), end, Check.MAX_COUNT);
            Check.need(offset % ALIGNMENT == 0, "kernels that begin at multiples of " + ALIGNMENT, entry);
            long[] shape = Check.shape(pair.get(1), Check.MAX_COUNT);
            Check.need(shape.length == 2 || shape.length == 4, "kernels of two or four axes", entry);
            end = offset + Check.elements(shape) * elementSize;
            Check.need(end <= parts.get(kernelsPart).bytes, "kernels that lie within their part", entry);
            found.put(entry.getKey(), new Kernel(offset, shape));
        }
        return Collections.unmodifiableMap(found);
    }

    private Map<String, Template> files(Map<String, Object> json) throws BundleException {
        Check.need(json.keySet().equals(new HashSet<>(fileNames())), "the files of every level", json.keySet());
        Map<String, Template> found = new LinkedHashMap<>();
        for (String file : fileNames()) {
            Map<String, Object> entry = Check.object(json.get(file), "a file");
            found.put(file, new Template(listed(Check.field(entry, "part")), part(entry, "size")));
        }
        return Collections.unmodifiableMap(found);
    }

    private Object policy(Object value) throws BundleException {
        boolean level = value instanceof Long && (Long) value >= 0 && (Long) value < numLevels();
        boolean known = level || Router.GATE.equals(value) || Router.CASCADE.equals(value);
        Check.need(known, "policy: 'gate', 'cascade' or a level", value);
        return level ? (Object) ((Long) value).intValue() : value;
    }

    private int[] cascade(List<Object> json) throws BundleException {
        String what = "cascade: two or more levels in [0, " + numLevels() + "), smaller ones first";
        Check.need(json.size() >= 2 && json.size() <= numLevels(), what, json);
        int[] found = new int[json.size()];
        for (int i = 0; i < found.length; i++) {
            Object level = json.get(i);
            long lowest = i == 0 ? 0 : found[i - 1] + 1;
            boolean rising = level instanceof Long && lowest <= (Long) level && (Long) level < numLevels();
            Check.need(rising, what, json);
            found[i] = ((Long) level).intValue();
        }
        return found;
    }

    private String confidence(Object value) throws BundleException {
        if (value == null) {
            return null;
        }
        Check.need(Doubt.CONFIDENCES.contains(value), "confidence of " + Doubt.CONFIDENCES + ", or none", value);
        List<Row> rows = budgetTable.get(Router.CASCADE);
        Check.need(rows != null && !rows.isEmpty(), "rows of the cascade beside its confidence", rows);
        return (String) value;
    }

    private int numKnobs(String policy) {
        return policy.equals(Router.CASCADE) ? cascade.length - 1 : 1;
    }

    private Map<String, List<Double>> knobs(Map<String, Object> json) throws BundleException {
        Check.need(json.keySet().equals(Router.LEARNED), "knobs by policy: " + Router.LEARNED, json.keySet());
        Map<String, List<Double>> found = new LinkedHashMap<>();
        for (Map.Entry<String, Object> entry : json.entrySet()) {
            found.put(entry.getKey(), Check.numbers(entry.getValue(), numKnobs(entry.getKey())));
        }
        return Collections.unmodifiableMap(found);
    }

    private Map<String, List<Row>> table(Map<String, Object> json) throws BundleException {
        Map<String, List<Row>> found = new LinkedHashMap<>();
        for (Map.Entry<String, Object> entry : json.entrySet()) {
            String policy = entry.getKey();
            boolean known = Router.LEARNED.contains(policy) || policy.equals("levels");
            Check.need(known, "a budget_table by policy", policy);
            List<Row> rows = new ArrayList<>();
            for (Object value : Check.list(entry.getValue(), "a budget_table by policy")) {
                List<Object> row = Check.list(value, "rows [knobs, MAdds, accuracy, passes or none]");
                Check.need(row.size() == 3 || row.size() == 4, "rows [knobs, MAdds, accuracy, passes or none]", row);
                List<Double> set = Check.numbers(row.get(0), numKnobs(policy));
                List<Double> measured = Check.numbers(row.subList(1, 3), 2);
                double cost = measured.get(0);
                boolean rising = rows.isEmpty() || rows.get(rows.size() - 1).madds <= cost;
                Check.need(rising, "rows of a budget_table by rising cost", cost);
                List<Double> passes = row.size() == 4 ? Check.numbers(row.get(3), numLevels()) : null;
                for (double share : passes == null ? Collections.<Double>emptyList() : passes) {
                    Check.need(share >= 0 && share <= 1, "passes in [0, 1]", passes);
                }
                rows.add(new Row(set, cost, measured.get(1), passes));
            }
            found.put(policy, Collections.unmodifiableList(rows));
        }
        return Collections.unmodifiableMap(found);
    }
}
