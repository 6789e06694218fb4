// Written against the documented Interpreter API of com.google.ai.edge.litert:litert 2.1 (package org.tensorflow.lite).
// NEVER RUN ON ANDROID where this repository is built: there is no Android SDK there. It is compiled and tested on a JVM,
// where android/jvm puts those methods of the Interpreter that it calls over LiteRT's C library.
package io.github.dskeras.litert;

import io.github.dskeras.bundle.Manifest;
import io.github.dskeras.bundle.Router;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * A bundle, ready to run with LiteRT: every image at the level that the policy picks.
 *
 * <p>A level runs as one file from the image on, which under the cascade hands its features to the larger ones; the gate
 * has a file of its own, with the shared start. Files are made when they are first used, and kept. Safe to share between
 * threads: one image at a time.
 */
public final class DsSession implements Closeable {
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

    private final Networks networks;
    private final Manifest manifest;
    private final Router router;
    private final Map<String, float[]> knobs = new HashMap<>();

    /**
     * Opens a bundle of whose files three stay open besides the gate's.
     *
     * @param path a directory, or a .dsbundle file
     * @param cache where the bundle's files are kept, such as {@code context.getNoBackupFilesDir()}
     * @param threads of LiteRT
     * @throws IOException not a bundle, or a damaged one; the message names the part. Only what the default policy begins
     *     with is read here
     */
    public DsSession(File path, File cache, int threads) throws IOException {
        this(path, cache, threads, Networks.KEEP);
    }

    /**
     * Opens a bundle.
     *
     * @param path see {@link #DsSession(File, File, int)}, like the next two
     * @param cache where the bundle's files are kept
     * @param threads of LiteRT
     * @param keep files that stay open besides the gate's, at least 1; the one unused for longest is closed first
     * @throws IOException not a bundle, or a damaged one
     */
    public DsSession(File path, File cache, int threads, int keep) throws IOException {
        networks = new Networks(path, cache, threads, keep, Manifest.CLASSIFICATION);
        manifest = networks.manifest;
        router = new Router(manifest);
        knobs.put(Router.GATE, router.knobs(Router.GATE));
        knobs.put(Router.CASCADE, router.knobs(Router.CASCADE));
        String first = manifest.fileNames(manifest.defaultPolicy).get(0);
        if (first.equals("route")) { // a damaged bundle fails here
            networks.route();
            networks.bundle.checkClasses(); // this file gives no logits
        } else {
            networks.opened(first, "features", "logits");
        }
    }

    /**
     * Gives what the bundle says of itself: image shape, labels, levels, policy.
     *
     * @return the manifest
     */
    public Manifest manifest() {
        return manifest;
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
     * Sets the knobs of a policy as they are, for example thresholds chosen on images of your own.
     *
     * @param policy {@link Router#GATE} or {@link Router#CASCADE}
     * @param values the gate's shift, or a threshold for each level of the cascade but the last
     * @throws IllegalArgumentException another number of them, or one that is no number
     */
    public synchronized void setKnobs(String policy, float... values) {
        knobs.put(policy, router.checkKnobs(policy, values));
    }

    /**
     * Times the parts on this device: call it on a thread of its own, with the phone as it will be in use.
     *
     * @param rounds runs of each part, at least 1
     * @return median milliseconds: the shared start under the gate, with the gate; that of a cascade, which is a part of
     *     its first file; then the body of each level
     * @throws IllegalArgumentException fewer rounds than 1
     * @throws IOException a damaged part
     */
    public synchronized double[] benchmark(int rounds) throws IOException {
        if (rounds < 1) {
            throw new IllegalArgumentException("rounds must be at least 1, received " + rounds);
        }
        int[] shape = manifest.imageShape;
        float[] image = new float[shape[0] * shape[1] * shape[2]];
        double[] found = new double[2 + manifest.numLevels()];
        ByteBuffer features = routed(image).bytes("features");
        for (int part = 0; part < found.length; part++) {
            double[] times = new double[rounds];
            for (int round = -1; round < rounds; round++) { // the first is to warm up, and opens the file
                long start = System.nanoTime();
                if (part == 0) {
                    routed(image);
                } else if (part == 1) {
                    entered(manifest.cascade[0], image);
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
        Network entry = entry(level);
        float[] logits = entry.run(entry.input(image), "logits");
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
            Network found = routed(image);
            int level = router.gateLevel(found.floats("gate"), set[0]);
            long madds = manifest.startMadds + manifest.gateMadds + manifest.bodyMadds[level];
            return new Result(body(level, found.bytes("features")), level, madds);
        }
        Network found = entered(manifest.cascade[0], image);
        float[] logits = found.floats("logits");
        long madds = manifest.startMadds + manifest.bodyMadds[manifest.cascade[0]];
        int step = 0;
        while (step < set.length && !Router.isSure(logits, set[step])) { // each level but the last has a threshold
            step++;
            logits = body(manifest.cascade[step], found.bytes("features"));
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
        networks.materialize(manifest.fileNames(policy));
    }

    @Override
    public synchronized void close() {
        networks.close();
    }

    /** The shared start and the gate, run for an image. */
    private Network routed(float[] image) throws IOException {
        Network route = networks.route();
        route.run(route.input(image));
        return route;
    }

    private Network entry(int level) throws IOException {
        return networks.opened("entry_" + level, "features", "logits");
    }

    /** A level from the image on, run for its features too. */
    private Network entered(int level, float[] image) throws IOException {
        Network entry = entry(level);
        entry.run(entry.input(image));
        return entry;
    }

    private float[] body(int level, ByteBuffer features) throws IOException {
        return networks.opened("body_" + level, "logits").run(features, "logits");
    }
}
