// NOT COMPILED AND NEVER RUN where this repository is built: there is no Android SDK and no LiteRT for Java there.
// Written against the documented Interpreter API of com.google.ai.edge.litert:litert 2.1 (package org.tensorflow.lite).
// The reader below it (io.github.dskeras.bundle) is compiled and tested; expect to mend this file on the first build.
package io.github.dskeras.litert;

import io.github.dskeras.bundle.Bundle;
import io.github.dskeras.bundle.Graph;
import io.github.dskeras.bundle.Manifest;
import io.github.dskeras.bundle.Materializer;
import io.github.dskeras.bundle.Router;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;

/**
 * A bundle, ready to run with LiteRT: every image at the level that the policy picks.
 *
 * <p>A level runs as one file from the image on, which under the cascade hands its features to the larger ones; the gate
 * has a file of its own, with the shared start. Files are made when they are first used, and kept. Safe to share between
 * threads: one image at a time.
 */
public final class DsSession implements Closeable {
    private static final int KEEP = 3; // files that stay open besides the gate's
    private static final String SIGNATURE = "serve";

    /** Result for one image. */
    public static final class Result {
        /** Logits of the classes. */
        public final float[] logits;
        /** The level that gave them. */
        public final int level;
        /** Multiply-adds of all that ran. */
        public final long madds;

        Result(float[] logits, int level, long madds) {
            this.logits = logits;
            this.level = level;
            this.madds = madds;
        }
    }

    private final Manifest manifest;
    private final Bundle bundle;
    private final Router router;
    private final File folder;
    private final int threads;
    private Network route; // null until the gate is asked
    private final Map<String, Network> open = new LinkedHashMap<>(8, 0.75f, true); // least recently used first
    private final Map<String, float[]> knobs = new HashMap<>();

    /**
     * Opens a bundle.
     *
     * @param path a directory, or a .dsbundle file
     * @param cache where the bundle's files are kept, such as {@code context.getNoBackupFilesDir()}
     * @param threads of LiteRT
     * @throws IOException not a bundle, or a damaged one; the message names the part. Only what the default policy begins
     *     with is read here
     */
    public DsSession(File path, File cache, int threads) throws IOException {
        bundle = new Bundle(path);
        manifest = bundle.manifest();
        router = new Router(manifest);
        folder = new File(cache, bundle.id().substring(0, 16));
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new IOException(folder + " cannot be made");
        }
        this.threads = threads;
        knobs.put(Router.GATE, router.knobs(Router.GATE));
        knobs.put(Router.CASCADE, router.knobs(Router.CASCADE));
        String first = manifest.fileNames(manifest.defaultPolicy).get(0);
        if (first.equals("route")) { // a damaged bundle fails here
            route();
        } else {
            opened(first, "features", "logits");
        }
    }

    /**
     * Sets the knobs of a policy so that it spends a given average cost, from the bundle's table.
     *
     * @param policy {@link Router#GATE} or {@link Router#CASCADE}
     * @param fraction average multiply-adds as a fraction of the largest level's
     * @throws IllegalArgumentException no table, or a budget out of reach (the message names the least)
     */
    public synchronized void setBudget(String policy, double fraction) {
        knobs.put(policy, router.knobsAt(policy, fraction));
    }

    /**
     * Times the parts on this device: call it on a thread of its own, with the phone as it will be in use.
     *
     * @param rounds runs of each part, at least 1
     * @return median milliseconds: the shared start under the gate, with the gate; that of a cascade, which is a part of
     *     its first file; then the body of each level
     * @throws IOException a damaged part
     */
    public synchronized double[] benchmark(int rounds) throws IOException {
        int[] shape = manifest.imageShape;
        float[] image = new float[shape[0] * shape[1] * shape[2]];
        double[] found = new double[2 + manifest.numLevels()];
        ByteBuffer features = routed(image).get("features");
        for (int part = 0; part < found.length; part++) {
            double[] times = new double[rounds];
            for (int round = -1; round < rounds; round++) { // the first is to warm up, and opens the file
                long start = System.nanoTime();
                if (part == 0) {
                    routed(image);
                } else if (part == 1) {
                    entry(manifest.cascade[0], image, "features", "logits");
                } else {
                    body(part - 2, features);
                }
                times[Math.max(round, 0)] = (System.nanoTime() - start) / 1e6;
            }
            Arrays.sort(times);
            found[part] = times[rounds / 2];
        }
        found[1] = Math.max(found[1] - found[2 + manifest.cascade[0]], 0);
        return found;
    }

    /**
     * Sets the knobs of a policy so that an image takes a given time on average, from the bundle's table.
     *
     * @param policy {@link Router#GATE} or {@link Router#CASCADE}
     * @param milliseconds average time of an image
     * @param parts of {@link #benchmark(int)}
     * @throws IllegalArgumentException no table, or a time out of reach (the message names the least)
     */
    public synchronized void setBudget(String policy, double milliseconds, double[] parts) {
        double[] bodies = Arrays.copyOfRange(parts, 2, parts.length);
        double start = parts[policy.equals(Router.GATE) ? 0 : 1];
        knobs.put(policy, router.knobsAtMilliseconds(policy, milliseconds, start, bodies, 0));
    }

    /**
     * Runs an image under the bundle's default policy.
     *
     * @param image height x width x channels values in [0, 255], row by row
     * @return logits, level and cost
     * @throws IOException a damaged part
     */
    public synchronized Result run(float[] image) throws IOException {
        Object policy = manifest.defaultPolicy;
        return policy instanceof Integer ? run(image, (Integer) policy) : run(image, (String) policy);
    }

    /**
     * Runs an image at a level.
     *
     * @param image see {@link #run(float[])}
     * @param level from 0
     * @return logits, level and cost
     * @throws IOException a damaged part
     */
    public synchronized Result run(float[] image, int level) throws IOException {
        Router.checkLevel(level, manifest.numLevels());
        float[] logits = floats(entry(level, image, "logits").get("logits"));
        return new Result(logits, level, manifest.startMadds + manifest.bodyMadds[level]);
    }

    /**
     * Runs an image under a policy.
     *
     * @param image see {@link #run(float[])}
     * @param policy {@link Router#GATE} or {@link Router#CASCADE}
     * @return logits, level and cost
     * @throws IOException a damaged part
     */
    public synchronized Result run(float[] image, String policy) throws IOException {
        float[] set = knobs.get(policy);
        if (set == null) {
            throw new IllegalArgumentException("policy must be 'gate' or 'cascade', received '" + policy + "'");
        }
        if (policy.equals(Router.GATE)) {
            Map<String, ByteBuffer> found = routed(image);
            int level = router.gateLevel(floats(found.get("gate")), set[0]);
            long madds = manifest.startMadds + manifest.gateMadds + manifest.bodyMadds[level];
            return new Result(body(level, found.get("features")), level, madds);
        }
        Map<String, ByteBuffer> found = entry(manifest.cascade[0], image, "features", "logits");
        float[] logits = floats(found.get("logits"));
        long madds = manifest.startMadds + manifest.bodyMadds[manifest.cascade[0]];
        int step = 0;
        while (step < set.length && !Router.isSure(logits, set[step])) { // each level but the last has a threshold
            step++;
            logits = body(manifest.cascade[step], found.get("features"));
            madds += manifest.bodyMadds[manifest.cascade[step]];
        }
        return new Result(logits, manifest.cascade[step], madds);
    }

    /**
     * Makes the files that a policy runs, for example behind a progress bar after the download.
     *
     * @param policy {@link Router#GATE}, {@link Router#CASCADE} or a level (an Integer); for the bundle's own, the
     *     {@code defaultPolicy} of its manifest
     * @throws IOException a damaged part, or a file that cannot be written
     */
    public synchronized void materialize(Object policy) throws IOException {
        Materializer materializer = new Materializer(bundle);
        for (String name : manifest.fileNames(policy)) {
            materializer.write(name, file(name));
        }
    }

    @Override
    public synchronized void close() {
        if (route != null) {
            route.interpreter.close();
            route = null;
        }
        for (Network network : open.values()) {
            network.interpreter.close();
        }
        open.clear();
    }

    private Network route() throws IOException {
        if (route == null) {
            route = network("route", "features", "gate");
        }
        return route;
    }

    private Map<String, ByteBuffer> routed(float[] image) throws IOException {
        return route().run(input(route(), image), "features", "gate");
    }

    private Map<String, ByteBuffer> entry(int level, float[] image, String... wanted) throws IOException {
        Network network = opened("entry_" + level, "features", "logits");
        return network.run(input(network, image), wanted);
    }

    private float[] body(int level, ByteBuffer features) throws IOException {
        return floats(opened("body_" + level, "logits").run(features, "logits").get("logits"));
    }

    private Network opened(String name, String... outputs) throws IOException {
        Network network = open.get(name);
        if (network == null) {
            network = network(name, outputs);
            open.put(name, network);
            if (open.size() > KEEP) {
                Iterator<Network> oldest = open.values().iterator();
                oldest.next().interpreter.close();
                oldest.remove();
            }
        }
        return network;
    }

    private Network network(String name, String... outputs) throws IOException {
        new Materializer(bundle).write(name, file(name)); // nothing to do where the file is there and whole
        Graph.check(file(name)); // which LiteRT trusts
        Interpreter interpreter = new Interpreter(file(name), options());
        try {
            return new Network(interpreter, outputs);
        } catch (RuntimeException error) { // its memory is not Java's
            interpreter.close();
            throw error;
        }
    }

    private File file(String name) {
        return new File(folder, name + ".tflite");
    }

    private Interpreter.Options options() {
        return new Interpreter.Options().setNumThreads(threads);
    }

    private ByteBuffer input(Network network, float[] image) {
        int[] shape = manifest.imageShape;
        int size = shape[0] * shape[1] * shape[2];
        if (image.length != size) {
            throw new IllegalArgumentException("an image of " + size + " values, received " + image.length);
        }
        boolean bytes = network.inputType() == DataType.UINT8; // an int8 file: it takes whole numbers
        ByteBuffer buffer = ByteBuffer.allocateDirect(bytes ? size : 4 * size).order(ByteOrder.nativeOrder());
        if (bytes) {
            for (float value : image) {
                buffer.put((byte) Math.rint(Math.min(Math.max(value, 0), 255)));
            }
        } else {
            buffer.asFloatBuffer().put(image);
        }
        return buffer;
    }

    private static float[] floats(ByteBuffer buffer) {
        float[] found = new float[buffer.capacity() / 4];
        rewind(buffer);
        buffer.asFloatBuffer().get(found);
        return found;
    }

    /** As a Buffer: the method that ByteBuffer itself has is missing on older Androids. */
    private static void rewind(Buffer buffer) {
        buffer.rewind();
    }

    /** A TFLite file of one input, at batch 1. */
    private static final class Network {
        final Interpreter interpreter;
        private final String input;
        private final Map<String, ByteBuffer> outputs = new HashMap<>();

        Network(Interpreter interpreter, String... names) {
            this.interpreter = interpreter;
            interpreter.allocateTensors();
            input = interpreter.getSignatureInputs(SIGNATURE)[0];
            for (String name : names) {
                int bytes = interpreter.getOutputTensorFromSignature(name, SIGNATURE).numBytes();
                outputs.put(name, ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder()));
            }
        }

        DataType inputType() {
            return interpreter.getInputTensorFromSignature(input, SIGNATURE).dataType();
        }

        /** The outputs that are wanted, by name, in buffers of this network's: good until it runs again. */
        Map<String, ByteBuffer> run(ByteBuffer x, String... wanted) {
            rewind(x);
            Map<String, Object> asked = new HashMap<>();
            for (String name : wanted) {
                rewind(outputs.get(name));
                asked.put(name, outputs.get(name));
            }
            interpreter.runSignature(Collections.<String, Object>singletonMap(input, x), asked, SIGNATURE);
            return outputs;
        }
    }
}
