// Written against the documented Interpreter API of com.google.ai.edge.litert:litert 2.1 (package org.tensorflow.lite).
// NEVER RUN ON ANDROID where this repository is built: there is no Android SDK there. It is compiled and tested on a JVM,
// where android/jvm puts those methods of the Interpreter that it calls over LiteRT's C library.
package io.github.dskeras.litert;

import io.github.dskeras.bundle.BundleException;
import java.io.Closeable;
import java.io.File;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;

/** A TFLite file of one input, at batch 1. */
final class Network implements Closeable {
    private static final String SIGNATURE = "serve";

    private final String name;
    private final Interpreter interpreter;
    private final String input;
    private final boolean bytes; // whether it takes uint8, as an int8 file does
    private final int values; // of its input
    private final Map<String, Object> outputs = new HashMap<>(); // ByteBuffers, made once
    private final Map<String, FloatBuffer> numbers = new HashMap<>(); // the same as floats
    private ByteBuffer pixels; // null until an image comes

    /**
     * Opens a file.
     *
     * @param name of the file, for messages
     * @param file checked, see {@code Graph}
     * @param threads of LiteRT
     * @param wanted outputs that are asked for
     */
    Network(String name, File file, int threads, String... wanted) {
        this.name = name;
        interpreter = new Interpreter(file, new Interpreter.Options().setNumThreads(threads));
        try {
            interpreter.allocateTensors();
            input = interpreter.getSignatureInputs(SIGNATURE)[0];
            Tensor tensor = interpreter.getInputTensorFromSignature(input, SIGNATURE);
            bytes = tensor.dataType() == DataType.UINT8;
            values = tensor.numBytes() / (bytes ? 1 : 4);
            for (String output : wanted) {
                ByteBuffer buffer = buffer(interpreter.getOutputTensorFromSignature(output, SIGNATURE));
                outputs.put(output, buffer);
                numbers.put(output, buffer.asFloatBuffer());
            }
        } catch (RuntimeException error) { // its memory is not Java's
            interpreter.close();
            throw error;
        }
    }

    /** How many numbers an image of this file has. */
    int values() {
        return values;
    }

    /** How many numbers an output that is asked for has. */
    int count(String output) {
        return numbers.get(output).capacity();
    }

    /**
     * Puts an image into a buffer of this network's, as the file takes it.
     *
     * @param image values in [0, 255]; an int8 file takes them rounded
     * @return the buffer
     * @throws IllegalArgumentException for another number of values
     */
    ByteBuffer input(float[] image) {
        if (image.length != values) {
            throw new IllegalArgumentException("an image of " + values + " values, received " + image.length);
        }
        if (pixels == null) {
            pixels = buffer(interpreter.getInputTensorFromSignature(input, SIGNATURE));
        }
        rewind(pixels);
        if (bytes) {
            for (float value : image) {
                pixels.put((byte) Math.rint(Math.min(Math.max(value, 0), 255)));
            }
        } else {
            pixels.asFloatBuffer().put(image);
        }
        return pixels;
    }

    /**
     * Runs the file for all of its outputs.
     *
     * @param x its input, in native order
     * @throws BundleException LiteRT cannot run it
     */
    void run(ByteBuffer x) throws BundleException {
        run(x, outputs);
    }

    /**
     * Runs the file for one output.
     *
     * @param x its input, in native order
     * @param output its name
     * @return its numbers
     * @throws BundleException LiteRT cannot run it
     */
    float[] run(ByteBuffer x, String output) throws BundleException {
        run(x, Collections.singletonMap(output, outputs.get(output)));
        return floats(output);
    }

    /** An output of the last run, good until the next. */
    ByteBuffer bytes(String output) {
        return (ByteBuffer) outputs.get(output);
    }

    /** The numbers of an output of the last run. */
    float[] floats(String output) {
        FloatBuffer buffer = numbers.get(output);
        float[] found = new float[buffer.capacity()];
        rewind(buffer);
        buffer.get(found);
        return found;
    }

    private void run(ByteBuffer x, Map<String, Object> wanted) throws BundleException {
        rewind(x);
        for (Object buffer : wanted.values()) {
            rewind((Buffer) buffer);
        }
        try {
            interpreter.runSignature(Collections.<String, Object>singletonMap(input, x), wanted, SIGNATURE);
        } catch (RuntimeException error) {
            throw new BundleException("LiteRT cannot run " + name + ": " + error.getMessage(), error);
        }
    }

    @Override
    public void close() {
        interpreter.close();
    }

    private static ByteBuffer buffer(Tensor tensor) {
        return ByteBuffer.allocateDirect(tensor.numBytes()).order(ByteOrder.nativeOrder());
    }

    /** As a Buffer: the method that ByteBuffer itself has is missing on older Androids. */
    private static void rewind(Buffer buffer) {
        buffer.rewind();
    }
}
