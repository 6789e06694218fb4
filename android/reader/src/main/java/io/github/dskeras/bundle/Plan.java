package io.github.dskeras.bundle;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A file's template: its graph without kernels, the checked plan of copies, the fold vector, and the file's tail. */
final class Plan {
    private static final Set<String> FIELDS =
            new HashSet<>(Arrays.asList("kernel", "begin", "shape", "axis", "factor"));

    /** A kernel slice of a file. */
    static final class Copy {
        final Manifest.Kernel kernel;
        final int[] begin;
        final int[] shape;
        final int axis; // of the output channels, which the factor belongs to
        final int factor; // position of the first factor in the fold vector, or -1 for a slice as it is
        final int offset; // byte of the file at which the slice begins

        Copy(Manifest.Kernel kernel, int[] begin, int[] shape, int axis, int factor, int offset) {
            this.kernel = kernel;
            this.begin = begin;
            this.shape = shape;
            this.axis = axis;
            this.factor = factor;
            this.offset = offset;
        }
    }

    final byte[] graph;
    final float[] factors;
    final List<Copy> copies;
    final byte[] tail; // what follows the kernels: the archive with the labels
    final int size; // bytes of the file

    /**
     * Checks that the copies lie within the kernels, the fold vector and the file, one behind another without gaps.
     *
     * @param rows decoded JSON: a list of objects with the fields of {@code Copy}; the offset may be left out
     * @param manifest of the bundle
     * @param graph flatbuffer whose kernels are external
     * @param factors fold vector
     * @param tail what follows the kernels
     * @param size bytes of the file
     * @throws BundleException where they do not
     */
    Plan(Object rows, Manifest manifest, byte[] graph, float[] factors, byte[] tail, int size)
            throws BundleException {
        this.graph = graph;
        this.factors = factors;
        this.tail = tail;
        this.size = size;
        int last = size - tail.length; // byte behind the last copy
        List<Copy> found = new ArrayList<>();
        Map<Object, Integer> used = new HashMap<>();
        int limit = manifest.formatVersion == Manifest.TASK_VERSION ? Manifest.MAX_COPIES : 1;
        long end = graph.length;
        for (Object value : Check.list(rows, "a plan")) {
            Map<String, Object> row = Check.object(value, "a copy");
            boolean follows = !row.containsKey("offset"); // behind the copy before it
            boolean known = row.keySet().containsAll(FIELDS) && row.size() == FIELDS.size() + (follows ? 0 : 1);
            Check.need(known, "copies of the fields " + FIELDS, row);
            Manifest.Kernel kernel = manifest.kernels.get(row.get("kernel"));
            Check.need(kernel != null, "kernels of the index", row.get("kernel"));
            Integer before = used.get(row.get("kernel"));
            int times = before == null ? 1 : before + 1;
            used.put(row.get("kernel"), times);
            String allowed = limit == 1 ? "each kernel once" : "each kernel at most " + limit + " times";
            Check.need(times <= limit, allowed, row.get("kernel"));
            long[] shape = Check.shape(row.get("shape"), Check.MAX_COUNT);
            List<Object> begin = Check.list(row.get("begin"), "begin");
            boolean equal = shape.length == kernel.shape.length && shape.length == begin.size();
            Check.need(equal, "copies with the axes of their kernel", row);
            for (int i = 0; i < shape.length; i++) {
                long first = Check.whole(begin.get(i), 0, kernel.shape[i]);
                Check.need(first + shape[i] <= kernel.shape[i], "copies within their kernel", row);
            }
            int axis = (int) Check.whole(row.get("axis"), 0, shape.length - 1);
            long factor = row.get("factor") == null ? -1 : Check.whole(row.get("factor"), 0, factors.length);
            Check.need(factor < 0 || factor + shape[axis] <= factors.length, "factors in the fold vector", row);
            Check.need(factor < 0 || manifest.elementSize > 1, "no factors for int8 codes, whose scales hold them", row);
            long next = (end + Manifest.ALIGNMENT - 1) / Manifest.ALIGNMENT * Manifest.ALIGNMENT;
            long offset = Check.whole(follows ? (Object) next : row.get("offset"), end, last);
            Check.need(offset == next, "copies one behind another, aligned", row);
            end = offset + Check.elements(shape) * manifest.elementSize;
            Check.need(end <= last, "copies within the file", row);
            found.add(new Copy(kernel, ints(begin), ints(shape), axis, (int) factor, (int) offset));
        }
        Check.need(end == last, "a plan that ends with the kernels, at " + last, end);
        copies = Collections.unmodifiableList(found);
    }

    private static int[] ints(List<Object> values) {
        int[] found = new int[values.size()];
        for (int i = 0; i < found.length; i++) {
            found[i] = ((Long) values.get(i)).intValue();
        }
        return found;
    }

    private static int[] ints(long[] values) {
        int[] found = new int[values.length];
        for (int i = 0; i < found.length; i++) {
            found[i] = (int) values[i];
        }
        return found;
    }
}
