// Written against the documented Interpreter API of com.google.ai.edge.litert:litert 2.1 (package org.tensorflow.lite).
// NEVER RUN ON ANDROID where this repository is built: there is no Android SDK there. It is compiled and tested on a JVM,
// where android/jvm puts those methods of the Interpreter that it calls over LiteRT's C library.
package io.github.dskeras.litert;

import io.github.dskeras.bundle.Boxes;
import io.github.dskeras.bundle.Doubt;
import io.github.dskeras.bundle.Manifest;
import io.github.dskeras.bundle.Router;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * A bundle of a detector, ready to run with LiteRT: an image in, boxes out, at the level that is asked for, or at the one
 * that the bundle's cascade ends with.
 *
 * <p>A level's file is made when it is first used, and kept. Safe to share between threads: one image at a time.
 */
public final class DsDetector implements Closeable {
    private static final float THRESHOLD = 0.3f;

    /** What the cascade gave for one image. */
    public static final class Result {
        /** The boxes, the surest first. */
        public final List<Boxes.Box> boxes;
        /** The level that gave them. */
        public final int level;
        /** Multiply-adds of all that ran. */
        public final long madds;

        Result(List<Boxes.Box> boxes, int level, long madds) {
            this.boxes = boxes;
            this.level = level;
            this.madds = madds;
        }
    }

    private final Networks networks;
    private final Manifest manifest;
    private final Router router;
    private float[] thresholds;

    /**
     * Opens a bundle of which three levels stay open.
     *
     * @param path a directory, or a .dsbundle file
     * @param cache where the bundle's files are kept, such as {@code context.getNoBackupFilesDir()}
     * @param threads of LiteRT
     * @throws IOException not a bundle of a detector, or a damaged one; the message names the part
     */
    public DsDetector(File path, File cache, int threads) throws IOException {
        this(path, cache, threads, Networks.KEEP);
    }

    /**
     * Opens a bundle.
     *
     * @param path see {@link #DsDetector(File, File, int)}, like the next two
     * @param cache where the bundle's files are kept
     * @param threads of LiteRT
     * @param keep levels that stay open, at least 1; the one unused for longest is closed first
     * @throws IOException not a bundle of a detector, or a damaged one
     */
    public DsDetector(File path, File cache, int threads, int keep) throws IOException {
        networks = new Networks(path, cache, threads, keep, Manifest.DETECTION);
        manifest = networks.manifest;
        router = new Router(manifest);
        thresholds = router.knobs(Router.CASCADE);
        networks.bundle.checkClasses();
    }

    /**
     * Gives what the bundle says of itself: image shape, labels, levels and their cost.
     *
     * @return the manifest
     */
    public Manifest manifest() {
        return manifest;
    }

    /**
     * Finds what is on an image, with a score of 0.3 at least.
     *
     * @param image height x width x channels values in [0, 255], row by row: the whole photo, its sides scaled apart
     * @param level from 0; the largest is {@code manifest().numLevels() - 1}
     * @return the boxes, the surest first, as fractions of the photo's width and height
     * @throws IOException a damaged part
     */
    public List<Boxes.Box> detect(float[] image, int level) throws IOException {
        return detect(image, level, THRESHOLD, Boxes.IOU, Boxes.MOST);
    }

    /**
     * Finds what is on an image.
     *
     * @param image see {@link #detect(float[], int)}, like the level
     * @param level from 0
     * @param threshold smallest score of a box, in [0, 1]
     * @param iou boxes of a class count as one thing where their intersection over union is larger, in [0, 1]
     * @param most boxes at most
     * @return the boxes, the surest first
     * @throws IOException a damaged part
     */
    public synchronized List<Boxes.Box> detect(float[] image, int level, float threshold, float iou, int most)
            throws IOException {
        Router.checkLevel(level, manifest.numLevels());
        Network network = entered(level, image);
        return Boxes.choose(network.floats("boxes"), network.floats("scores"), threshold, iou, most);
    }

    /**
     * Finds what is on an image, with a score of 0.3 at least, under the bundle's cascade: a small level first, larger
     * ones where it is in doubt.
     *
     * @param image see {@link #detect(float[], int)}
     * @return boxes, level and cost
     * @throws IllegalStateException the bundle has no cascade
     * @throws IOException a damaged part
     */
    public Result detect(float[] image) throws IOException {
        return detect(image, THRESHOLD, Boxes.IOU, Boxes.MOST);
    }

    /**
     * Finds what is on an image, under the bundle's cascade.
     *
     * @param image see {@link #detect(float[], int)}
     * @param threshold smallest score of a box, in [0, 1]; the cascade's own thresholds are others
     * @param iou see {@link #detect(float[], int, float, float, int)}
     * @param most boxes at most
     * @return boxes, level and cost
     * @throws IllegalStateException the bundle has no cascade
     * @throws IOException a damaged part
     */
    public synchronized Result detect(float[] image, float threshold, float iou, int most) throws IOException {
        checkCascade();
        int[] order = manifest.cascade;
        Network entry = entered(order[0], image);
        float[] boxes = entry.floats("boxes");
        float[] scores = entry.floats("scores");
        ByteBuffer features = entry.bytes("features");
        long madds = manifest.startMadds + manifest.bodyMadds[order[0]];
        int step = 0;
        while (step < thresholds.length && !Doubt.isSure(boxes, scores, manifest.confidence, thresholds[step])) {
            step++;
            Network body = body(order[step], features);
            boxes = body.floats("boxes");
            scores = body.floats("scores");
            madds += manifest.bodyMadds[order[step]];
        }
        return new Result(Boxes.choose(boxes, scores, threshold, iou, most), order[step], madds);
    }

    /**
     * Sets the thresholds of the cascade so that it spends a given average cost, from the bundle's table.
     *
     * @param fraction average multiply-adds as a fraction of the largest level's
     * @throws IllegalStateException the bundle has no cascade
     * @throws IllegalArgumentException a budget out of reach (the message names the least)
     */
    public synchronized void setBudget(double fraction) {
        checkCascade();
        thresholds = router.knobsAt(Router.CASCADE, fraction);
    }

    /**
     * Sets the thresholds of the cascade so that an image takes a given time on average, from the bundle's table.
     *
     * @param milliseconds average time of an image
     * @param parts of {@link #benchmark(float[], int)}
     * @throws IllegalStateException the bundle has no cascade
     * @throws IllegalArgumentException a time out of reach (the message names the least)
     */
    public synchronized void setBudget(double milliseconds, double[] parts) {
        checkCascade();
        double[] bodies = Arrays.copyOfRange(parts, 1, parts.length);
        thresholds = router.knobsAtMilliseconds(Router.CASCADE, milliseconds, parts[0], bodies, 0);
    }

    /**
     * Sets the thresholds of the cascade as they are, for example those chosen on images of your own.
     *
     * @param values one for each level of the cascade but the last, at or above which it stays
     * @throws IllegalStateException the bundle has no cascade
     * @throws IllegalArgumentException another number of them, or one that is no number
     */
    public synchronized void setThresholds(float... values) {
        checkCascade();
        thresholds = router.checkKnobs(Router.CASCADE, values);
    }

    /**
     * Times the parts on this device: call it on a thread of its own, with the phone as it will be in use.
     *
     * @param image a photo of the kind that will be seen, see {@link #detect(float[], int)}
     * @param rounds runs of each part, at least 1
     * @return median milliseconds: what every image pays besides the bodies, choosing among the boxes included; then the
     *     body of each level
     * @throws IllegalStateException the bundle has no cascade
     * @throws IllegalArgumentException fewer rounds than 1
     * @throws IOException a damaged part
     */
    public synchronized double[] benchmark(float[] image, int rounds) throws IOException {
        checkCascade();
        if (rounds < 1) {
            throw new IllegalArgumentException("rounds must be at least 1, received " + rounds);
        }
        int first = manifest.cascade[0];
        double[] found = new double[1 + manifest.numLevels()];
        for (int part = 0; part < found.length; part++) {
            ByteBuffer features = entered(first, image).bytes("features"); // its network must stay open meanwhile
            double[] times = new double[rounds];
            for (int round = -1; round < rounds; round++) { // the first is to warm up, and opens the file
                long start = System.nanoTime();
                if (part == 0) {
                    Network entry = entered(first, image);
                    Doubt.isSure(entry.floats("boxes"), entry.floats("scores"), manifest.confidence, 1);
                    Boxes.choose(entry.floats("boxes"), entry.floats("scores"), THRESHOLD, Boxes.IOU, Boxes.MOST);
                } else {
                    body(part - 1, features);
                }
                times[Math.max(round, 0)] = (System.nanoTime() - start) / 1e6;
            }
            Arrays.sort(times);
            found[part] = times[rounds / 2];
        }
        found[0] = Math.max(found[0] - found[1 + first], 0);
        return found;
    }

    /**
     * Makes the file of a level, for example behind a progress bar after the download.
     *
     * @param level from 0
     * @throws IOException a damaged part, or a file that cannot be written
     */
    public synchronized void materialize(int level) throws IOException {
        networks.materialize(Collections.singletonList("entry_" + Router.checkLevel(level, manifest.numLevels())));
    }

    @Override
    public synchronized void close() {
        networks.close();
    }

    private void checkCascade() {
        if (manifest.confidence == null) {
            throw new IllegalStateException("the bundle has no cascade: give a level, or export it with one");
        }
    }

    /** A level from the image on, run for its features too. */
    private Network entered(int level, float[] image) throws IOException {
        Network entry = networks.opened("entry_" + level, "features", "boxes", "scores");
        entry.run(entry.input(image));
        return entry;
    }

    /** A level from the features of another one on. */
    private Network body(int level, ByteBuffer features) throws IOException {
        Network body = networks.opened("body_" + level, "boxes", "scores");
        body.run(features);
        return body;
    }
}
