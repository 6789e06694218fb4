package org.tensorflow.lite;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.Arrays;

/** What {@link Interpreter} calls of LiteRT's C interface, as version 2.3 has it. */
final class LiteRt {
    /** The system property that says where libLiteRt.so is: the Python package ai-edge-litert brings it. */
    static final String LIBRARY = "litert";

    private static final SymbolLookup SYMBOLS =
            SymbolLookup.libraryLookup(Path.of(System.getProperty(LIBRARY)), Arena.global());

    static final MethodHandle CREATE_MODEL = status("LiteRtCreateModelFromBuffer", ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle CREATE_OPTIONS = status("LiteRtCreateOptions", ADDRESS);
    static final MethodHandle SET_ACCELERATORS = status("LiteRtSetOptionsHardwareAccelerators", ADDRESS, JAVA_INT);
    static final MethodHandle COMPILE = status("LiteRtCreateCompiledModel", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle SIGNATURE = status("LiteRtGetModelSignature", ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle KEY = status("LiteRtGetSignatureKey", ADDRESS, ADDRESS);
    static final MethodHandle TENSOR_TYPE = status("LiteRtGetRankedTensorType", ADDRESS, ADDRESS);
    static final MethodHandle CREATE_BUFFER =
            status("LiteRtCreateManagedTensorBufferFromRequirements", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
    static final MethodHandle BUFFER_SIZE = status("LiteRtGetTensorBufferPackedSize", ADDRESS, ADDRESS);
    static final MethodHandle BUFFER_MEMORY = status("LiteRtGetTensorBufferHostMemory", ADDRESS, ADDRESS);
    static final MethodHandle RUN =
            status("LiteRtRunCompiledModel", ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS);
    static final MethodHandle DESTROY_BUFFER = nothing("LiteRtDestroyTensorBuffer");
    static final MethodHandle DESTROY_COMPILED = nothing("LiteRtDestroyCompiledModel");
    static final MethodHandle DESTROY_OPTIONS = nothing("LiteRtDestroyOptions");
    static final MethodHandle DESTROY_MODEL = nothing("LiteRtDestroyModel");

    /** The functions that say what a file's inputs are, or its outputs. */
    record Side(MethodHandle count, MethodHandle name, MethodHandle tensor, MethodHandle needs) {}

    static final Side INPUTS = side("Input");
    static final Side OUTPUTS = side("Output");

    /** One environment for all files of the process. */
    static final MemorySegment ENVIRONMENT;

    static {
        try (Arena arena = Arena.ofConfined()) {
            MethodHandle create = status("LiteRtCreateEnvironment", JAVA_INT, ADDRESS, ADDRESS);
            ENVIRONMENT = make(arena, create, 0, MemorySegment.NULL);
        }
    }

    private LiteRt() {}

    /** Calls a function whose status must be 0. */
    static void call(MethodHandle function, Object... arguments) {
        int status;
        try {
            status = (int) function.invokeWithArguments(arguments);
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        }
        check(status);
    }

    /** Calls a function that puts a pointer, or a number as long as one, where its last argument points. */
    static MemorySegment make(Arena arena, MethodHandle function, Object... arguments) {
        MemorySegment place = arena.allocate(ADDRESS);
        Object[] all = Arrays.copyOf(arguments, arguments.length + 1);
        all[arguments.length] = place;
        call(function, all);
        return place.get(ADDRESS, 0);
    }

    /** Calls a function that frees something. */
    static void free(MethodHandle function, MemorySegment what) {
        try {
            function.invokeExact(what);
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        }
    }

    /** Refuses a status that is not 0. */
    static void check(int status) {
        if (status != 0) {
            throw new IllegalArgumentException("LiteRT gives status " + status);
        }
    }

    private static Side side(String what) {
        return new Side(
                status("LiteRtGetNumSignature" + what + "s", ADDRESS, ADDRESS),
                status("LiteRtGetSignature" + what + "Name", ADDRESS, JAVA_LONG, ADDRESS),
                status("LiteRtGetSignature" + what + "TensorByIndex", ADDRESS, JAVA_LONG, ADDRESS),
                status("LiteRtGetCompiledModel" + what + "BufferRequirements", ADDRESS, JAVA_LONG, JAVA_LONG, ADDRESS));
    }

    private static MethodHandle status(String name, MemoryLayout... arguments) {
        return handle(name, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    private static MethodHandle nothing(String name) {
        return handle(name, FunctionDescriptor.ofVoid(ADDRESS));
    }

    private static MethodHandle handle(String name, FunctionDescriptor descriptor) {
        return Linker.nativeLinker().downcallHandle(SYMBOLS.find(name).orElseThrow(), descriptor);
    }
}
