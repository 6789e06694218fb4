package io.github.dskeras.litert;

import io.github.dskeras.bundle.Boxes;
import io.github.dskeras.bundle.Router;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;

/**
 * {@link DsSession} from the command line, on a JVM. Images are raw little-endian float32 values, one after another.
 *
 * <pre>
 * run BUNDLE CACHE IMAGES VALUES KEEP DO...               for each DO, each image: a line "level madds logit logit ..."
 * detect BUNDLE CACHE IMAGES VALUES KEEP THRESHOLD MOST DO...   for each DO, each image: "kind score left top right bottom ..."
 * time BUNDLE CACHE IMAGES VALUES ROUNDS WARMUP FILE...   see {@link #time}
 * </pre>
 *
 * VALUES is how many numbers an image has, KEEP how many files stay open, WARMUP milliseconds. DO is "default", "gate", "cascade", a level;
 * "parallel:" and one of these, for many threads; "budget:POLICY:FRACTION", "milliseconds:POLICY:MS",
 * "knobs:POLICY:KNOB,KNOB", "benchmark:ROUNDS" or "materialize:POLICY", which print nothing. With detect, DO is a level,
 * "cascade", whose lines begin with "level madds", or "budget:FRACTION", "milliseconds:MS" or "thresholds:T,T". What is refused is a line "error: ...".
 */
final class Runner {
    private static final int MANY = 1000; // files that stay open where a timing must not open any

    private interface Run {
        Object of(float[] image) throws IOException;
    }

    /** Pairs that count, and milliseconds of those before. */
    private record Rounds(int count, long warmup) {}

    private Runner() {}

    public static void main(String[] args) {
        String[] rest = Arrays.copyOfRange(args, 6, args.length);
        int number = Integer.parseInt(args[5]);
        boolean timing = args[0].equals("time");
        if (args[0].equals("detect")) {
            detect(args, number, rest);
            return;
        }
        try (DsSession session = new DsSession(new File(args[1]), new File(args[2]), 1, timing ? MANY : number)) {
            float[][] images = images(new File(args[3]), Integer.parseInt(args[4]));
            if (timing) {
                time(session, images, new Rounds(number, Long.parseLong(rest[0])), Arrays.copyOfRange(rest, 1, rest.length));
            } else {
                for (String what : rest) {
                    run(session, images, what.split(":"));
                }
            }
        } catch (IOException | RuntimeException error) {
            System.out.println("error: " + error.getMessage());
        }
    }

    private static void run(DsSession session, float[][] images, String[] what) throws IOException {
        try {
            switch (what[0]) {
                case "budget" -> session.setBudget(what[1], Double.parseDouble(what[2]));
                case "milliseconds" -> session.setBudget(what[1], Double.parseDouble(what[2]), session.benchmark(20));
                case "benchmark" -> session.benchmark(Integer.parseInt(what[1]));
                case "knobs" -> session.setKnobs(what[1], floats(what[2]));
                case "materialize" -> session.materialize(policy(what[1]));
                case "parallel" -> print(Arrays.stream(images).parallel().map(x -> result(session, x, what[1])));
                default -> print(Arrays.stream(images).map(x -> result(session, x, what[0])));
            }
        } catch (IllegalArgumentException error) {
            System.out.println("error: " + error.getMessage());
        }
    }

    private static void detect(String[] args, int keep, String[] rest) {
        try (DsDetector detector = new DsDetector(new File(args[1]), new File(args[2]), 1, keep)) {
            float[][] images = images(new File(args[3]), Integer.parseInt(args[4]));
            float threshold = Float.parseFloat(rest[0]);
            int most = Integer.parseInt(rest[1]);
            for (String what : Arrays.copyOfRange(rest, 2, rest.length)) {
                detect(detector, images, what.split(":"), threshold, most);
            }
        } catch (IOException | RuntimeException error) {
            System.out.println("error: " + error.getMessage());
        }
    }

    private static void detect(DsDetector detector, float[][] images, String[] what, float threshold, int most)
            throws IOException {
        try {
            switch (what[0]) {
                case "budget" -> detector.setBudget(Double.parseDouble(what[1]));
                case "milliseconds" -> detector.setBudget(Double.parseDouble(what[1]), detector.benchmark(images[0], 5));
                case "thresholds" -> detector.setThresholds(floats(what[1]));
                case "cascade" -> {
                    for (float[] image : images) {
                        DsDetector.Result found = detector.detect(image, threshold, 0.5f, most);
                        System.out.println((found.level + " " + found.madds + " " + line(found.boxes)).trim());
                    }
                }
                default -> {
                    int level = Integer.parseInt(what[0]);
                    detector.materialize(level);
                    for (float[] image : images) {
                        System.out.println(line(detector.detect(image, level, threshold, 0.5f, most)));
                    }
                }
            }
        } catch (IllegalArgumentException | IllegalStateException error) {
            System.out.println("error: " + error.getMessage());
        }
    }

    private static String line(List<Boxes.Box> boxes) {
        StringBuilder line = new StringBuilder();
        for (Boxes.Box box : boxes) {
            line.append(line.length() > 0 ? " " : "").append(box.kind).append(' ').append(box.score);
            line.append(' ').append(box.left).append(' ').append(box.top);
            line.append(' ').append(box.right).append(' ').append(box.bottom);
        }
        return line.toString();
    }

    private static void print(Stream<DsSession.Result> results) {
        for (DsSession.Result result : results.toList()) {
            StringBuilder line = new StringBuilder(result.level + " " + result.madds);
            for (float logit : result.logits) {
                line.append(' ').append(logit);
            }
            System.out.println(line);
        }
    }

    private static DsSession.Result result(DsSession session, float[] image, String what) {
        try {
            if (what.equals("default")) {
                return session.run(image);
            }
            return policy(what) instanceof Integer level ? session.run(image, level) : session.run(image, what);
        } catch (IOException error) {
            throw new UncheckedIOException(error.getMessage(), error);
        }
    }

    private static Object policy(String what) {
        return what.matches("-?\\d+") ? (Object) Integer.valueOf(what) : what;
    }

    private static float[] floats(String values) {
        String[] texts = values.split(",");
        float[] found = new float[texts.length];
        for (int i = 0; i < found.length; i++) {
            found[i] = Float.parseFloat(texts[i]);
        }
        return found;
    }

    /**
     * Times the session against static files of whole levels, and its default policy against its largest level: pairs,
     * the order within a pair alternating. A line for each comparison, "WHAT LEVEL", then the nanoseconds of each pair
     * (all images, one by one): session, other, session, other, ...
     *
     * @param wholes the static file of each level
     */
    private static void time(DsSession session, float[][] images, Rounds rounds, String[] wholes) throws IOException {
        Run[] files = new Run[wholes.length];
        for (int level = 0; level < files.length; level++) {
            Network network = new Network(wholes[level], new File(wholes[level]), 1, "logits");
            files[level] = image -> network.run(network.input(image), "logits");
        }
        int largest = files.length - 1;
        paired("routed mixed", images, rounds, session::run, image -> session.run(image, largest));
        for (int level = 0; level < files.length; level++) {
            int fixed = level;
            paired("file " + level, images, rounds, image -> session.run(image, fixed), files[level]);
        }
        // a cascade that stays with its first level, a gate that picks the smallest and the largest
        float[] zeros = new float[session.manifest().cascade.length - 1];
        session.setKnobs(Router.CASCADE, zeros);
        int first = session.manifest().cascade[0];
        paired("cascade/file " + first, images, rounds, image -> session.run(image, Router.CASCADE), files[first]);
        for (int level : new int[] {0, largest}) {
            session.setKnobs(Router.GATE, level == 0 ? 1e9f : -1e9f);
            paired("gate/file " + level, images, rounds, image -> session.run(image, Router.GATE), files[level]);
        }
    }

    private static void paired(String what, float[][] images, Rounds rounds, Run a, Run b) throws IOException {
        long until = System.nanoTime() + 1_000_000L * rounds.warmup();
        while (System.nanoTime() < until) { // Java compiles what runs often, in threads that may share our core
            timed(a, images);
            timed(b, images);
            LockSupport.parkNanos(1_000_000L);
        }
        StringBuilder line = new StringBuilder(what);
        for (int round = 0; round < rounds.count(); round++) {
            long second = round % 2 == 0 ? 0 : timed(b, images);
            long first = timed(a, images);
            second = round % 2 == 0 ? timed(b, images) : second;
            line.append(String.format(Locale.ROOT, " %d %d", first, second));
        }
        System.out.println(line);
    }

    private static long timed(Run run, float[][] images) throws IOException {
        long start = System.nanoTime();
        for (float[] image : images) {
            run.of(image);
        }
        return System.nanoTime() - start;
    }

    private static float[][] images(File file, int values) throws IOException {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file.toPath())).order(ByteOrder.LITTLE_ENDIAN);
        float[][] images = new float[bytes.capacity() / 4 / values][values];
        for (float[] image : images) {
            bytes.asFloatBuffer().get(image);
            bytes.position(bytes.position() + 4 * values);
        }
        return images;
    }
}
