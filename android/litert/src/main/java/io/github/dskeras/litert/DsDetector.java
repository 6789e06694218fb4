// Written against the documented Interpreter API of com.google.ai.edge.litert:litert 2.1 (package org.tensorflow.lite).
// NEVER RUN ON ANDROID where this repository is built: there is no Android SDK there. It is compiled and tested on a JVM,
// where android/jvm puts those methods of the Interpreter that it calls over LiteRT's C library.
package io.github.dskeras.litert;

import io.github.dskeras.bundle.Boxes;
import io.github.dskeras.bundle.Manifest;
import io.github.dskeras.bundle.Router;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.util.Collections;
import java.util.List;

/**
 * A bundle of a detector, ready to run with LiteRT: an image in, boxes out, at the level that is asked for.
 *
 * <p>A level's file is made when it is first used, and kept. Safe to share between threads: one image at a time.
 */
public final class DsDetector implements Closeable {
    private static final float THRESHOLD = 0.3f;
    private static final float IOU = 0.5f;
    private static final int MOST = 100;

    private final Networks networks;
    private final Manifest manifest;

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
        return detect(image, level, THRESHOLD, IOU, MOST);
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
        Network network = networks.opened("entry_" + level, "boxes", "scores");
        network.run(network.input(image));
        return Boxes.choose(network.floats("boxes"), network.floats("scores"), threshold, iou, most);
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
}
