// Written against the documented Interpreter API of com.google.ai.edge.litert:litert 2.1 (package org.tensorflow.lite).
// NEVER RUN ON ANDROID where this repository is built: there is no Android SDK there. It is compiled and tested on a JVM,
// where android/jvm puts those methods of the Interpreter that it calls over LiteRT's C library.
package io.github.dskeras.litert;

import io.github.dskeras.bundle.Bundle;
import io.github.dskeras.bundle.BundleException;
import io.github.dskeras.bundle.Graph;
import io.github.dskeras.bundle.Manifest;
import io.github.dskeras.bundle.Materializer;
import java.io.Closeable;
import java.io.File;
import java.io.IOException;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The files of a bundle in LiteRT, each made and opened when it is first used. For one thread at a time. */
final class Networks implements Closeable {
    static final int KEEP = 3;

    final Bundle bundle;
    final Manifest manifest;
    private final File path;
    private final File folder;
    private final int threads;
    private final int keep;
    private Network route; // null until it is asked for
    private final Map<String, Network> open = new LinkedHashMap<>(8, 0.75f, true); // least recently used first

    /**
     * Opens a bundle, and none of its files.
     *
     * @param path a directory, or a .dsbundle file
     * @param cache where the bundle's files are kept
     * @param threads of LiteRT
     * @param keep files that stay open besides the route, at least 1; the one unused for longest is closed first
     * @param task that the bundle must be for
     * @throws IOException not a bundle of this task, or a damaged one
     */
    Networks(File path, File cache, int threads, int keep, String task) throws IOException {
        if (threads < 1 || keep < 1) {
            throw new IllegalArgumentException("threads and keep of 1 at least, received " + threads + " and " + keep);
        }
        this.path = path;
        this.threads = threads;
        this.keep = keep;
        bundle = new Bundle(path);
        manifest = bundle.manifest();
        if (!manifest.task.equals(task)) {
            String other = manifest.task.equals(Manifest.DETECTION) ? "a detector: open it by DsDetector" : null;
            throw new BundleException(
                    path + " is a bundle of " + (other == null ? "a classifier: open it by DsSession" : other));
        }
        folder = new File(cache, bundle.id().substring(0, 16));
        if (!folder.isDirectory() && !folder.mkdirs()) {
            throw new IOException(folder + " cannot be made");
        }
    }

    /** The shared start and the gate. */
    Network route() throws IOException {
        if (route == null) {
            route = network("route", "features", "gate");
        }
        return route;
    }

    /** An entry or a body, opened with these outputs. */
    Network opened(String name, String... outputs) throws IOException {
        Network network = open.get(name);
        if (network == null) {
            network = network(name, outputs);
            open.put(name, network);
            if (open.size() > keep) {
                Iterator<Network> oldest = open.values().iterator();
                oldest.next().close();
                oldest.remove();
            }
        }
        return network;
    }

    /** Makes files, where they are not there and whole. */
    void materialize(List<String> names) throws IOException {
        Materializer materializer = new Materializer(bundle);
        for (String name : names) {
            materializer.write(name, file(name));
        }
    }

    @Override
    public void close() {
        if (route != null) {
            route.close();
            route = null;
        }
        for (Network network : open.values()) {
            network.close();
        }
        open.clear();
    }

    private Network network(String name, String... outputs) throws IOException {
        new Materializer(bundle).write(name, file(name)); // nothing to do where the file is there and whole
        String where = path + ": " + name;
        try {
            Graph.check(file(name)); // which LiteRT trusts
            Network network = new Network(where, file(name), threads, outputs);
            try {
                check(network, name, outputs);
            } catch (BundleException error) {
                network.close();
                throw error;
            }
            return network;
        } catch (BundleException | RuntimeException error) {
            throw new BundleException(where + " is damaged, it cannot be opened: " + error.getMessage(), error);
        }
    }

    private void check(Network network, String name, String... outputs) throws BundleException {
        int[] shape = manifest.imageShape;
        int values = shape[0] * shape[1] * shape[2];
        if (!name.startsWith("body_") && network.values() != values) {
            throw new BundleException("it takes " + network.values() + " values, an image has " + values);
        }
        for (String output : outputs) {
            int[] wanted = manifest.outputs.get(output); // null for features and gate
            if (wanted != null && network.count(output) != Manifest.count(wanted)) {
                int found = network.count(output);
                throw new BundleException(
                        "it must give " + Manifest.count(wanted) + " " + output + ", it gives " + found);
            }
        }
    }

    private File file(String name) {
        return new File(folder, name + ".tflite");
    }
}
