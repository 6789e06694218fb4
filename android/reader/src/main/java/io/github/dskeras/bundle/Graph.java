package io.github.dskeras.bundle;

import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Checks the graph of a TFLite file before LiteRT opens it, which trusts what it reads: {@code ds_keras.runtime.graph}.
 *
 * <p>The hashes of a bundle find damage, not what was made to look whole. With such a file LiteRT can end the process,
 * or reserve whatever a shape says.
 */
public final class Graph {
    private static final long MAX_MEMORY = 1L << 30; // bytes of all that a network computes, besides unpacked kernels
    private static final long UNPACKED = 8; // times the file, at most
    private static final long BEHIND = 2; // smallest offset of a constant that lies behind the graph
    private static final int OPERATORS = 210; // known codes
    private static final Set<Integer> ELSEWHERE = // CALL, CUSTOM, DELEGATE, IF, WHILE, CALL_ONCE: they run other code
            new HashSet<>(Arrays.asList(31, 32, 51, 118, 119, 129));
    private static final List<Integer> BIASED = Arrays.asList(3, 4, 9); // may go without their third input
    private static final int[] SIZES = {4, 2, 4, 1, 8, 0, 1, 0, 0, 1}; // bytes of a value, by type; 0: not used here

    private final ByteBuffer data;

    private Graph(byte[] file) {
        data = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    }

    /**
     * Checks a file of one graph: indices, sizes of tensors and constants, the order of operators, their strides.
     *
     * @param file bytes of the file
     * @throws BundleException what LiteRT should not see
     */
    public static void check(byte[] file) throws BundleException {
        try {
            new Graph(file).check();
        } catch (IndexOutOfBoundsException | ArithmeticException | IllegalArgumentException error) {
            throw new BundleException("its graph is damaged: " + error.getMessage(), error);
        }
    }

    /**
     * Checks a file on the disk.
     *
     * @param file TFLite file
     * @throws BundleException what LiteRT should not see; the message names the file
     * @throws IOException where it cannot be read
     */
    public static void check(File file) throws IOException {
        Source source = Source.of(file);
        byte[] data = source.read(0, source.size());
        try {
            check(data);
        } catch (BundleException error) {
            throw new BundleException(file + ": " + error.getMessage(), error);
        }
    }

    /**
     * Gives the shape of an output of the signature.
     *
     * @param file bytes of the file, or its graph alone
     * @param name of the output
     * @return its sides
     * @throws BundleException no such output, or a damaged graph
     */
    static int[] outputShape(byte[] file, String name) throws BundleException {
        try {
            return new Graph(file).outputShape(name.getBytes(StandardCharsets.UTF_8));
        } catch (IndexOutOfBoundsException | ArithmeticException | IllegalArgumentException error) {
            throw new BundleException("its graph is damaged: " + error.getMessage(), error);
        }
    }

    private int[] outputShape(byte[] name) {
        int model = target(0);
        int tensors = vector(table(vector(model, 2), 0), 0);
        int outputs = vector(table(vector(model, 7), 0), 1);
        for (int i = 0; i < length(outputs); i++) {
            int output = table(outputs, i);
            int text = vector(output, 0);
            boolean same = length(text) == name.length;
            for (int k = 0; same && k < name.length; k++) {
                same = data.get(text + 4 + k) == name[k];
            }
            if (same) {
                int shape = vector(table(tensors, integer(output, 1, 0)), 0);
                int[] sides = new int[length(shape)];
                for (int axis = 0; axis < sides.length; axis++) {
                    sides[axis] = data.getInt(shape + 4 + 4 * axis);
                }
                return sides;
            }
        }
        throw new IllegalArgumentException("it has no output of this name");
    }

    private void check() {
        expect(data.getInt(4) == 0x334C4654, "it does not begin as a TFLite file"); // "TFL3"
        int model = target(0);
        int graphs = vector(model, 2);
        int signatures = vector(model, 7);
        expect(length(graphs) == 1 && length(signatures) == 1, "it must have one graph and one signature");
        int graph = table(graphs, 0);
        boolean[] known = constants(model, graph);
        int[] inputs = indices(vector(graph, 1), known.length);
        int[] outputs = indices(vector(graph, 2), known.length);
        expect(inputs.length == 1 && outputs.length > 0, "it must have one input, and outputs");
        int signature = table(signatures, 0);
        boolean own = integer(signature, 4, 0) == 0 && named(signature, 0).equals(set(inputs));
        expect(own && named(signature, 1).equals(set(outputs)), "its signature names other tensors than its graph");
        expect(!known[inputs[0]], "its input is a constant");
        known[inputs[0]] = true;
        operators(model, graph, known);
        for (int output : outputs) {
            expect(known[output], "nothing makes its outputs");
        }
    }

    /** Checks all tensors; whether each is a constant. */
    private boolean[] constants(int model, int graph) {
        int tensors = vector(graph, 0);
        int buffers = vector(model, 4);
        boolean[] constant = new boolean[length(tensors)];
        long memory = 0;
        for (int i = 0; i < constant.length; i++) {
            int tensor = table(tensors, i);
            int shape = vector(tensor, 0);
            int type = octet(tensor, 1);
            expect(type >= 0 && type < SIZES.length && SIZES[type] > 0, "tensor " + i + " has type " + type);
            long size = SIZES[type];
            for (int axis = 0; axis < length(shape); axis++) {
                int n = data.getInt(shape + 4 + 4 * axis);
                expect(n >= 0, "tensor " + i + " has a negative shape");
                size = Math.multiplyExact(size, (long) n);
            }
            expect(octet(tensor, 5) == 0 && field(tensor, 6) == 0, "tensor " + i + " is no plain tensor");
            int buffer = table(buffers, integer(tensor, 2, 0));
            long held = length(vector(buffer, 0));
            long offset = field(buffer, 1) == 0 ? 0 : data.getLong(field(buffer, 1));
            if (offset >= BEHIND || offset < 0) {
                long external = field(buffer, 2) == 0 ? 0 : data.getLong(field(buffer, 2));
                boolean inside = offset > 0 && external >= 0 && offset <= data.capacity() - external;
                expect(held == 0 && inside, "tensor " + i + " lies outside the file");
                held = external;
            }
            expect(held == 0 || held == size, "tensor " + i + " of " + size + " bytes has " + held);
            constant[i] = held > 0;
            memory = Math.addExact(memory, held > 0 ? 0 : size);
            expect(memory <= MAX_MEMORY + UNPACKED * data.capacity(), "its tensors take more than is allowed");
            scales(tensor, shape, i);
        }
        return constant;
    }

    private void scales(int tensor, int shape, int i) {
        int found = field(tensor, 4);
        if (found == 0) {
            return;
        }
        int quantization = target(found);
        int count = length(vector(quantization, 2));
        int zeros = length(vector(quantization, 3));
        int axis = integer(quantization, 6, 0);
        boolean channels = axis >= 0 && axis < length(shape) && data.getInt(shape + 4 + 4 * axis) == count;
        boolean fits = (count == 1 || channels) && (zeros == 0 || zeros == count);
        expect(count == 0 || fits, "tensor " + i + " has " + count + " scales");
    }

    /** Each operator reads what is known before it, and makes what is not. */
    private void operators(int model, int graph, boolean[] known) {
        int codes = vector(model, 1);
        int operators = vector(graph, 3);
        for (int i = 0; i < length(operators); i++) {
            int operator = table(operators, i);
            int kind = table(codes, integer(operator, 0, 0));
            int code = Math.max(integer(kind, 3, 0), octet(kind, 0));
            boolean usual = code >= 0 && code < OPERATORS && !ELSEWHERE.contains(code);
            expect(usual, "operator " + i + " is of kind " + code);
            int reads = vector(operator, 1);
            int count = length(reads);
            if (BIASED.contains(code) && count == 3 && data.getInt(reads + 12) == -1) {
                count = 2;
            }
            for (int k = 0; k < count; k++) {
                expect(known[data.getInt(reads + 4 + 4 * k)], "operator " + i + " reads what nothing makes");
            }
            for (int made : indices(vector(operator, 2), known.length)) {
                expect(!known[made], "operator " + i + " makes what is there");
                known[made] = true;
            }
            options(operator, code, i);
        }
    }

    /** Strides and windows are positive, without which LiteRT would divide by zero. */
    private void options(int operator, int code, int i) {
        int[] slots; // of the options' fields; those at the end are 1 where they are absent
        int type;
        if (code == 3) {
            slots = new int[] {1, 2, 4, 5};
            type = 1;
        } else if (code == 4) {
            slots = new int[] {1, 2, 3, 5, 6};
            type = 2;
        } else if (code == 1 || code == 17) {
            slots = new int[] {1, 2, 3, 4};
            type = 5;
        } else {
            return;
        }
        expect((octet(operator, 3) & 0xFF) == type && field(operator, 4) != 0, "operator " + i + " lacks its options");
        int options = target(field(operator, 4));
        for (int slot : slots) {
            int absent = type != 5 && slot > 3 ? 1 : 0;
            expect(integer(options, slot, absent) > 0, "operator " + i + " has a stride of 0");
        }
    }

    private static void expect(boolean holds, String what) {
        if (!holds) {
            throw new IllegalArgumentException(what);
        }
    }

    private static Set<Integer> set(int[] values) {
        Set<Integer> found = new HashSet<>();
        for (int value : values) {
            found.add(value);
        }
        return found;
    }

    /** The tensors that a signature names. */
    private Set<Integer> named(int signature, int slot) {
        int maps = vector(signature, slot);
        Set<Integer> found = new HashSet<>();
        for (int i = 0; i < length(maps); i++) {
            found.add(integer(table(maps, i), 1, 0));
        }
        return found;
    }

    private int[] indices(int vector, int count) {
        int[] found = new int[length(vector)];
        for (int i = 0; i < found.length; i++) {
            found[i] = data.getInt(vector + 4 + 4 * i);
            expect(found[i] >= 0 && found[i] < count, "it has " + count + " tensors, and uses " + found[i]);
        }
        return found;
    }

    // A flatbuffer: 0 stands for what is absent; ByteBuffer throws where a position lies outside the file.

    /** Where a table's field lies. */
    private int field(int table, int slot) {
        int layout = Math.subtractExact(table, data.getInt(table));
        int at = 4 + 2 * slot;
        int offset = at < (data.getShort(layout) & 0xFFFF) ? data.getShort(layout + at) & 0xFFFF : 0;
        return offset == 0 ? 0 : table + offset;
    }

    private int target(int position) {
        return Math.addExact(position, data.getInt(position));
    }

    private int vector(int table, int slot) {
        int position = field(table, slot);
        return position == 0 ? 0 : target(position);
    }

    /** Elements of a vector, each of which takes a byte at least. */
    private int length(int vector) {
        int length = vector == 0 ? 0 : data.getInt(vector);
        expect(length >= 0 && length <= data.capacity() - vector - (vector == 0 ? 0 : 4), "a vector leaves the file");
        return length;
    }

    /** The table that an element of a vector points to. */
    private int table(int vector, int i) {
        expect(i >= 0 && i < length(vector), "element " + i + " of a vector of " + length(vector));
        return target(vector + 4 + 4 * i);
    }

    private int integer(int table, int slot, int absent) {
        int position = field(table, slot);
        return position == 0 ? absent : data.getInt(position);
    }

    private int octet(int table, int slot) {
        int position = field(table, slot);
        return position == 0 ? 0 : data.get(position);
    }
}
