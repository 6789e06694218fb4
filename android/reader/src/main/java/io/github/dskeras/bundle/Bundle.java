package io.github.dskeras.bundle;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Map;

/**
 * A bundle on disk: a directory, or the single-file form. Every number is checked before it is used, every part against
 * its hash whenever it is read. Holds no open file.
 */
public final class Bundle {
    static final int MAX_INDEX = 16 << 20; // bytes of a JSON text, of a fold vector, or of a tail
    static final int MAX_GRAPH = 64 << 20; // bytes of a file's graph, which holds no kernels

    private final File path;
    private final Archive archive; // null for a directory
    private final Manifest manifest;
    private final String id;

    /**
     * Opens a bundle: reads and checks {@code bundle.json}. Parts are read when they are needed.
     *
     * @param path a directory, or a {@code .dsbundle} file
     * @throws BundleException not a bundle, or a damaged one
     */
    public Bundle(File path) throws BundleException {
        this.path = path;
        boolean folder = path.isDirectory();
        if (!folder && !path.isFile()) {
            throw new BundleException("a bundle is a directory or a file, received " + path);
        }
        try {
            archive = folder ? null : new Archive(Source.of(path));
        } catch (IOException error) {
            throw new BundleException(path + " is not a bundle, or a damaged one: " + error.getMessage(), error);
        }
        byte[] text = read(Manifest.INDEX, MAX_INDEX);
        id = sha256(text);
        try {
            manifest = new Manifest(Json.parse(text));
        } catch (BundleException error) {
            String what = ": " + Manifest.INDEX + " is not that of a " + Manifest.FORMAT + ": ";
            throw new BundleException(path + what + error.getMessage(), error);
        }
    }

    /**
     * Names the bundle: the sha256 of {@code bundle.json}. Caches of its files use it.
     *
     * @return 64 hexadecimal digits
     */
    public String id() {
        return id;
    }

    /**
     * Gives the content of {@code bundle.json}.
     *
     * @return the manifest, checked
     */
    public Manifest manifest() {
        return manifest;
    }

    /**
     * Reads every part, and makes every file, without keeping anything.
     *
     * @throws BundleException for the first part that is missing or damaged
     */
    public void verify() throws BundleException {
        for (String name : manifest.parts.keySet()) {
            part(name);
        }
        Materializer materializer = new Materializer(this);
        for (String name : manifest.fileNames()) {
            materializer.file(name);
        }
    }

    /**
     * Compares the outputs that {@code bundle.json} names with the graph of a file that gives them.
     *
     * @throws BundleException other shapes, or a damaged part
     */
    public void checkClasses() throws BundleException {
        String where = path + ": body_0";
        byte[] graph = plan("body_0").graph;
        for (Map.Entry<String, int[]> output : manifest.outputs.entrySet()) {
            int[] shape;
            try {
                shape = Graph.outputShape(graph, output.getKey());
            } catch (BundleException error) {
                throw new BundleException(where + " is damaged, it cannot be opened: " + error.getMessage(), error);
            }
            StringBuilder size = new StringBuilder();
            int[] wanted = new int[output.getValue().length + 1];
            wanted[0] = 1;
            for (int i = 1; i < wanted.length; i++) {
                wanted[i] = output.getValue()[i - 1];
                size.append(i > 1 ? " x " : "").append(wanted[i]);
            }
            if (!Arrays.equals(shape, wanted)) {
                String found = ", its shape is " + Arrays.toString(shape);
                throw new BundleException(where + " must give " + size + " " + output.getKey() + found);
            }
        }
    }

    /**
     * Reads a part.
     *
     * @param name of the part
     * @return its bytes, compared with their size and hash
     * @throws BundleException where it is missing or damaged
     */
    byte[] part(String name) throws BundleException {
        Manifest.Part entry = manifest.parts.get(name);
        byte[] data = read(name, entry.bytes);
        if (data.length != entry.bytes || !sha256(data).equals(entry.sha256)) {
            throw damaged(name, "its size or sha256 is not that of " + Manifest.INDEX);
        }
        return data;
    }

    /** A file's template, checked against the kernels. */
    Plan plan(String name) throws BundleException {
        Manifest.Template entry = manifest.files.get(name);
        byte[] data = part(entry.part);
        if (entry.made.bytes > Integer.MAX_VALUE - 8) {
            throw damaged(entry.part, "its file has more bytes than this reader holds");
        }
        try {
            if (manifest.formatVersion > 2) {
                String route = manifest.files.get("route").part;
                boolean own = entry.part.equals(route);
                return Shared.plan(own ? data : part(route), own ? null : data, name, manifest);
            }
            Archive members = new Archive(Source.of(data));
            byte[] graph = members.read("graph.tflite", Math.min(entry.made.bytes, MAX_GRAPH), false);
            Object rows = Json.parse(members.read("plan.json", MAX_INDEX, false));
            byte[] tail = members.read("tail.bin", MAX_INDEX, false);
            byte[] factors = members.read("factors.bin", MAX_INDEX, false);
            Check.need(factors.length % 4 == 0, "whole numbers of factors", factors.length + " bytes");
            float[] values = new float[factors.length / 4];
            ByteBuffer.wrap(factors).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
            return new Plan(rows, manifest, graph, values, tail, (int) entry.made.bytes);
        } catch (IOException error) {
            throw damaged(entry.part, error.getMessage());
        }
    }

    /** Whether these bytes are that file. */
    boolean isFile(String name, byte[] data) {
        return sha256(data).equals(manifest.files.get(name).made.sha256);
    }

    BundleException damaged(String what, String reason) {
        return new BundleException(path + ": " + what + " is damaged: " + reason);
    }

    private byte[] read(String name, long limit) throws BundleException {
        try {
            if (archive != null) {
                return archive.read(name, limit, true);
            }
            File file = new File(path, name);
            if (!file.isFile()) {
                throw new BundleException(name + " is missing");
            }
            Source source = Source.of(file);
            if (source.size() > limit) {
                throw new BundleException(
                        name + " is damaged: " + source.size() + " bytes, at most " + limit + " are allowed");
            }
            return source.read(0, source.size());
        } catch (BundleException error) {
            throw new BundleException(path + ": " + error.getMessage(), error);
        } catch (IOException error) {
            throw new BundleException(path + ": " + name + " cannot be read: " + error.getMessage(), error);
        }
    }

    private static String sha256(byte[] data) {
        try {
            StringBuilder hex = new StringBuilder();
            for (byte b : MessageDigest.getInstance("SHA-256").digest(data)) {
                hex.append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
            }
            return hex.toString();
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException("every Java has SHA-256", error);
        }
    }
}
