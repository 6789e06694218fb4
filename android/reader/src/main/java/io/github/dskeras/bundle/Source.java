package io.github.dskeras.bundle;

import java.io.File;
import java.io.IOException;
import java.io.RandomAccessFile;

/** Bytes to read from: a file, or an array. Nothing is allocated before it is known to lie within them. */
abstract class Source {
    /** How many bytes there are. */
    abstract long size();

    /** Fills an array from a position; the caller has checked that it lies within the source. */
    abstract void fill(long at, byte[] into) throws IOException;

    /**
     * Reads bytes.
     *
     * @param at position of the first
     * @param count how many
     * @return the bytes
     * @throws IOException where they do not lie within the source, or cannot be read
     */
    final byte[] read(long at, long count) throws IOException {
        if (at < 0 || count < 0 || at > size() || count > size() - at) {
            throw new BundleException("it reaches outside its file of " + size() + " bytes");
        }
        byte[] found = allocate(count);
        fill(at, found);
        return found;
    }

    /** An array of a size that has been checked; one that the memory does not hold is an error like any other. */
    static byte[] allocate(long size) throws BundleException {
        if (size > Integer.MAX_VALUE - 8) {
            throw new BundleException(size + " bytes are more than this reader holds");
        }
        try {
            return new byte[(int) size];
        } catch (OutOfMemoryError error) {
            throw new BundleException(size + " bytes are more than the memory holds", error);
        }
    }

    static Source of(final byte[] data) {
        return new Source() {
            @Override
            long size() {
                return data.length;
            }

            @Override
            void fill(long at, byte[] into) {
                System.arraycopy(data, (int) at, into, 0, into.length);
            }
        };
    }

    /** A file, opened for each read: there is nothing to close. */
    static Source of(final File file) {
        final long size = file.length();
        return new Source() {
            @Override
            long size() {
                return size;
            }

            @Override
            void fill(long at, byte[] into) throws IOException {
                try (RandomAccessFile reader = new RandomAccessFile(file, "r")) {
                    reader.seek(at);
                    reader.readFully(into);
                }
            }
        };
    }
}
