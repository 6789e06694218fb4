package org.tensorflow.lite;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * LiteRT on a plain JVM, behind those methods of its Java {@code Interpreter} that {@code DsSession} calls, so that the
 * adapter runs without Android. Not for an app, which gets the class of this name from LiteRT.
 */
public final class Interpreter implements AutoCloseable {
    private static final long TENSOR_TYPE = 72; // bytes of a LiteRtRankedTensorType; its first four are the type's number
    private static final int PROCESSOR = 1;

    /** What the adapter sets. */
    public static final class Options {
        public Options setNumThreads(int threads) {
            if (threads != 1) {
                throw new IllegalArgumentException("threads must be 1 on the JVM, received " + threads);
            }
            return this;
        }
    }

    private record Port(MemorySegment buffer, ByteBuffer memory, DataType dataType) implements Tensor {
        @Override
        public int numBytes() {
            return memory.capacity();
        }
    }

    private final Arena arena = Arena.ofShared();
    private final MemorySegment model;
    private final MemorySegment options;
    private final MemorySegment compiled;
    private final String key;
    private final Map<String, Port> inputs;
    private final Map<String, Port> outputs;
    private final MemorySegment inputBuffers;
    private final MemorySegment outputBuffers;
    private boolean allocated;

    public Interpreter(File file, Options given) {
        MemorySegment content = mapped(file); // which LiteRT verifies, as its Java does; by a path it would not
        model = LiteRt.make(arena, LiteRt.CREATE_MODEL, LiteRt.ENVIRONMENT, content, content.byteSize());
        options = LiteRt.make(arena, LiteRt.CREATE_OPTIONS);
        LiteRt.call(LiteRt.SET_ACCELERATORS, options, PROCESSOR);
        compiled = LiteRt.make(arena, LiteRt.COMPILE, LiteRt.ENVIRONMENT, model, options);
        MemorySegment signature = LiteRt.make(arena, LiteRt.SIGNATURE, model, 0L);
        key = text(LiteRt.make(arena, LiteRt.KEY, signature));
        inputs = ports(signature, LiteRt.INPUTS);
        outputs = ports(signature, LiteRt.OUTPUTS);
        inputBuffers = buffers(inputs);
        outputBuffers = buffers(outputs);
    }

    private MemorySegment mapped(File file) {
        try (FileChannel channel = FileChannel.open(file.toPath())) {
            return channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
        } catch (IOException error) {
            throw new IllegalArgumentException(error);
        }
    }

    private Map<String, Port> ports(MemorySegment signature, LiteRt.Side side) {
        Map<String, Port> ports = new LinkedHashMap<>();
        long count = LiteRt.make(arena, side.count(), signature).address();
        for (long i = 0; i < count; i++) {
            MemorySegment type = arena.allocate(TENSOR_TYPE, 8);
            LiteRt.call(LiteRt.TENSOR_TYPE, LiteRt.make(arena, side.tensor(), signature, i), type);
            MemorySegment needs = LiteRt.make(arena, side.needs(), compiled, 0L, i);
            MemorySegment buffer = LiteRt.make(arena, LiteRt.CREATE_BUFFER, LiteRt.ENVIRONMENT, type, needs);
            long size = LiteRt.make(arena, LiteRt.BUFFER_SIZE, buffer).address();
            MemorySegment memory = LiteRt.make(arena, LiteRt.BUFFER_MEMORY, buffer).reinterpret(size);
            String name = text(LiteRt.make(arena, side.name(), signature, i));
            ports.put(name, new Port(buffer, memory.asByteBuffer(), DataType.of(type.get(JAVA_INT, 0))));
        }
        return ports;
    }

    private MemorySegment buffers(Map<String, Port> ports) {
        MemorySegment all = arena.allocate(ADDRESS, ports.size());
        long i = 0;
        for (Port port : ports.values()) {
            all.setAtIndex(ADDRESS, i++, port.buffer());
        }
        return all;
    }

    private static String text(MemorySegment pointer) {
        return pointer.reinterpret(Long.MAX_VALUE).getString(0);
    }

    public void allocateTensors() {
        allocated = true;
    }

    public String[] getSignatureInputs(String signature) {
        check(signature);
        return inputs.keySet().toArray(new String[0]);
    }

    public Tensor getInputTensorFromSignature(String name, String signature) {
        check(signature);
        return port(inputs, name);
    }

    public Tensor getOutputTensorFromSignature(String name, String signature) {
        check(signature);
        return port(outputs, name);
    }

    /** Copies inputs in, runs, and puts the outputs that are wanted where their buffers stand, as LiteRT for Java does. */
    public void runSignature(Map<String, Object> given, Map<String, Object> wanted, String signature) {
        check(signature);
        for (Map.Entry<String, Port> entry : inputs.entrySet()) {
            ByteBuffer from = (ByteBuffer) given.get(entry.getKey());
            ByteBuffer to = entry.getValue().memory();
            if (!from.isDirect() || from.order() != ByteOrder.nativeOrder() || from.remaining() != to.capacity()) {
                throw new IllegalArgumentException("an input of " + to.capacity() + " bytes, received " + from);
            }
            to.put(0, from, from.position(), from.remaining());
        }
        run();
        for (Map.Entry<String, Object> entry : wanted.entrySet()) {
            ByteBuffer from = port(outputs, entry.getKey()).memory();
            ByteBuffer to = (ByteBuffer) entry.getValue();
            if (to.remaining() < from.capacity()) {
                throw new IllegalArgumentException("an output of " + from.capacity() + " bytes, received " + to);
            }
            from.rewind();
            to.put(from);
        }
    }

    private void run() {
        long in = inputs.size();
        long out = outputs.size();
        try {
            LiteRt.check((int) LiteRt.RUN.invokeExact(compiled, 0L, in, inputBuffers, out, outputBuffers));
        } catch (RuntimeException error) {
            throw error;
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public void close() {
        for (Map<String, Port> ports : List.of(inputs, outputs)) {
            for (Port port : ports.values()) {
                LiteRt.free(LiteRt.DESTROY_BUFFER, port.buffer());
            }
        }
        LiteRt.free(LiteRt.DESTROY_COMPILED, compiled);
        LiteRt.free(LiteRt.DESTROY_OPTIONS, options);
        LiteRt.free(LiteRt.DESTROY_MODEL, model);
        arena.close();
    }

    private void check(String signature) {
        if (!allocated || !signature.equals(key)) {
            throw new IllegalArgumentException("signature " + key + " after allocateTensors(), received " + signature);
        }
    }

    private static Port port(Map<String, Port> ports, String name) {
        if (!ports.containsKey(name)) {
            throw new IllegalArgumentException("one of " + ports.keySet() + ", received " + name);
        }
        return ports.get(name);
    }
}
