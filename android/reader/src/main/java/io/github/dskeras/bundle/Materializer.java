package io.github.dskeras.bundle;

import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;

/**
 * Slice at install: puts a file's kernels, cut from the full ones, back into its template.
 *
 * <p>Holds the full kernels once a file was made: drop it when the files are there. Not for several threads at once.
 */
public final class Materializer {
    private final Bundle bundle;
    private ByteBuffer kernels;

    /**
     * Makes a materializer; reads nothing yet.
     *
     * @param bundle whose files it makes
     */
    public Materializer(Bundle bundle) {
        this.bundle = bundle;
    }

    /**
     * Makes a static TFLite file.
     *
     * @param name "route" (images to features and gate logits), "entry_k" (level k: images to logits, and to the
     *     features) or "body_k" (level k behind the shared start: features to logits): see {@link Manifest#fileNames()}
     * @return the file's bytes, whose hash is that of the manifest
     * @throws BundleException where a part is missing or damaged
     * @throws IllegalArgumentException where there is no such file
     */
    public byte[] file(String name) throws BundleException {
        bundle.manifest().checkFile(name);
        Plan plan = bundle.plan(name);
        if (kernels == null) {
            byte[] data = bundle.part(bundle.manifest().kernelsPart);
            kernels = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        }
        byte[] data = Source.allocate(plan.size); // the plan has shown that graph, kernels and tail fill it
        System.arraycopy(plan.graph, 0, data, 0, plan.graph.length);
        System.arraycopy(plan.tail, 0, data, plan.size - plan.tail.length, plan.tail.length);
        ByteBuffer file = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        for (Plan.Copy copy : plan.copies) {
            copy(copy, plan.factors, file);
        }
        if (!bundle.isFile(name, data)) {
            throw bundle.damaged(name, "what its parts make is not the published file");
        }
        return data;
    }

    /**
     * Writes a file; one that is there already, whole, stays. The file has its name only when it is complete: it is
     * written beside it, forced to the disk and renamed.
     *
     * @param name see {@link #file}
     * @param target the file; its folder exists
     * @throws BundleException where a part is missing or damaged
     * @throws IOException where the file cannot be written
     */
    public void write(String name, File target) throws IOException {
        bundle.manifest().checkFile(name);
        if (isWritten(name, target)) {
            return;
        }
        byte[] data = file(name);
        File part = File.createTempFile(".writing-", ".tmp", target.getAbsoluteFile().getParentFile());
        try {
            try (FileOutputStream stream = new FileOutputStream(part)) {
                FileChannel channel = stream.getChannel();
                ByteBuffer rest = ByteBuffer.wrap(data);
                while (rest.hasRemaining()) {
                    channel.write(rest);
                }
                channel.force(true);
            }
            if (!part.renameTo(target)) { // rename(2): replaces in one step
                throw new IOException(target + " cannot be written");
            }
        } finally {
            part.delete(); // gone already, unless something failed
        }
    }

    private boolean isWritten(String name, File target) throws IOException {
        Source source = Source.of(target);
        boolean fits = target.isFile() && source.size() == bundle.manifest().files.get(name).made.bytes;
        return fits && bundle.isFile(name, source.read(0, source.size()));
    }

    /** Copies a slice row by row (a row runs along the last axis), times the factor of its output channel. */
    private void copy(Plan.Copy copy, float[] factors, ByteBuffer file) {
        int size = bundle.manifest().elementSize;
        int last = copy.shape.length - 1;
        int length = copy.shape[last];
        int rows = 1;
        for (int i = 0; i < last; i++) {
            rows *= copy.shape[i];
        }
        int to = copy.offset;
        for (int row = 0; row < rows; row++) {
            long from = 0; // element of the full kernel at which the row begins
            int channel = 0; // index of the row on the axis of the output channels
            int rest = row;
            long stride = copy.kernel.shape[last];
            for (int i = last - 1; i >= 0; i--) {
                int index = rest % copy.shape[i];
                rest /= copy.shape[i];
                from += (copy.begin[i] + index) * stride;
                stride *= copy.kernel.shape[i];
                channel = i == copy.axis ? index : channel;
            }
            int at = (int) (copy.kernel.offset + (from + copy.begin[last]) * size);
            if (copy.factor < 0) {
                System.arraycopy(kernels.array(), at, file.array(), to, length * size);
            } else {
                int step = copy.axis == last ? 1 : 0;
                scale(at, to, length, factors, copy.factor + channel, step, file);
            }
            to += length * size;
        }
    }

    private void scale(int from, int to, int length, float[] factors, int factor, int step, ByteBuffer file) {
        if (bundle.manifest().elementSize == 4) {
            for (int i = 0; i < length; i++) {
                file.putFloat(to + 4 * i, kernels.getFloat(from + 4 * i) * factors[factor + step * i]);
            }
        } else {
            for (int i = 0; i < length; i++) {
                float value = Half.toFloat(kernels.getShort(from + 2 * i)) * factors[factor + step * i];
                file.putShort(to + 2 * i, Half.fromFloat(value));
            }
        }
    }
}
