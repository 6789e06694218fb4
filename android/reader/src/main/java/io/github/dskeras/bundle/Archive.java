package io.github.dskeras.bundle;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/**
 * Reads members of a ZIP file by name, from memory or from a file; nothing is ever unpacked to a path.
 *
 * <p>Ours instead of {@code java.util.zip.ZipFile}: every declared size is checked before it is allocated, and archives
 * in memory are read by their central directory too.
 */
final class Archive {
    private static final int END = 22; // bytes of the record at the end, without its comment
    private static final int CENTRAL = 46; // of an entry, without its name
    private static final int LOCAL = 30;
    private static final int MAX_DIRECTORY = 16 << 20;
    private static final int MAX_DEFLATE = 1100; // deflate makes at most 1032 bytes of one
    private static final int MAX_VERSION = 63; // 6.3, of the format: no later one is known
    private static final int REFUSED_FLAGS = 0x61; // encrypted, patched

    private static final class Entry {
        byte[] name;
        int flags;
        int method;
        int crc;
        long packed;
        long size;
        long offset;
        int end; // in the directory
    }

    private final Source source;
    private final long directory;
    private final Map<String, Entry> entries = new HashMap<>();

    /**
     * Reads the central directory.
     *
     * @param source of the archive
     * @throws IOException where it is no archive, or a damaged one
     */
    Archive(Source source) throws IOException {
        this.source = source;
        long tail = Math.min(source.size(), END + 0xffff);
        ByteBuffer end = buffer(source.size() - tail, tail);
        int at = (int) tail - END;
        while (at >= 0 && !(end.getInt(at) == 0x06054b50 && (end.getShort(at + 20) & 0xffff) == tail - END - at)) {
            at--;
        }
        if (at < 0) {
            throw new BundleException("it is not a ZIP archive");
        }
        long size = end.getInt(at + 12) & 0xffffffffL;
        directory = end.getInt(at + 16) & 0xffffffffL;
        if (size > MAX_DIRECTORY || directory + size != source.size() - tail + at) {
            throw new BundleException("its ZIP directory has a wrong place");
        }
        ByteBuffer central = buffer(directory, size);
        for (int next = 0; next < size; ) {
            Entry entry = entry(central, next);
            next = entry.end;
            if (entries.put(new String(entry.name, StandardCharsets.UTF_8), entry) != null) {
                throw new BundleException("its ZIP directory names a member twice");
            }
        }
    }

    private static Entry entry(ByteBuffer central, int at) throws BundleException {
        if (central.limit() - at < CENTRAL || central.getInt(at) != 0x02014b50) {
            throw new BundleException("its ZIP directory is damaged");
        }
        if ((central.get(at + 6) & 0xff) > MAX_VERSION) {
            throw new BundleException("its ZIP directory asks for a later version of the format");
        }
        Entry entry = new Entry();
        entry.flags = central.getShort(at + 8) & 0xffff;
        entry.method = central.getShort(at + 10) & 0xffff;
        entry.crc = central.getInt(at + 16);
        entry.packed = central.getInt(at + 20) & 0xffffffffL;
        entry.size = central.getInt(at + 24) & 0xffffffffL;
        entry.offset = central.getInt(at + 42) & 0xffffffffL;
        int name = central.getShort(at + 28) & 0xffff;
        int rest = (central.getShort(at + 30) & 0xffff) + (central.getShort(at + 32) & 0xffff);
        entry.end = at + CENTRAL + name + rest;
        if (entry.end > central.limit()) {
            throw new BundleException("its ZIP directory is damaged");
        }
        entry.name = Arrays.copyOfRange(central.array(), at + CENTRAL, at + CENTRAL + name);
        return entry;
    }

    /**
     * Reads a member.
     *
     * @param name of the member
     * @param limit bytes that it may have at most
     * @param stored refuses a compressed one
     * @return its bytes, compared with their CRC
     * @throws IOException where it is missing, damaged, or larger
     */
    byte[] read(String name, long limit, boolean stored) throws IOException {
        Entry entry = entries.get(name);
        if (entry == null) {
            throw new BundleException(name + " is missing");
        }
        if ((entry.flags & REFUSED_FLAGS) != 0 || entry.method != 0 && (stored || entry.method != 8)) {
            throw new BundleException(name + " is encrypted, or compressed in a way that is not allowed here");
        }
        if (entry.size > limit) {
            String sizes = entry.size + " bytes, at most " + limit + " are allowed";
            throw new BundleException(name + " is damaged: " + sizes);
        }
        ByteBuffer local = buffer(entry.offset, LOCAL);
        int length = local.getShort(26) & 0xffff;
        long start = entry.offset + LOCAL + length + (local.getShort(28) & 0xffff);
        boolean named = Arrays.equals(source.read(entry.offset + LOCAL, length), entry.name);
        if (local.getInt(0) != 0x04034b50 || !named || start + entry.packed > directory) {
            throw new BundleException(name + " is damaged: its header is not that of the directory");
        }
        if (entry.method == 0 ? entry.size != entry.packed : entry.size / MAX_DEFLATE > entry.packed) {
            throw new BundleException(name + " is damaged: it declares a wrong size");
        }
        byte[] data = source.read(start, entry.packed);
        data = entry.method == 0 ? data : inflated(data, entry.size, name);
        CRC32 crc = new CRC32();
        crc.update(data, 0, data.length);
        if ((int) crc.getValue() != entry.crc) {
            throw new BundleException(name + " is damaged: its CRC is another");
        }
        return data;
    }

    private static byte[] inflated(byte[] packed, long size, String name) throws BundleException {
        byte[] found = Source.allocate(size);
        byte[] beyond = new byte[1];
        Inflater inflater = new Inflater(true);
        try {
            inflater.setInput(Arrays.copyOf(packed, packed.length + 1)); // old zlibs want a byte behind the data
            int count = 0;
            while (count < found.length && !inflater.finished()) {
                int more = inflater.inflate(found, count, found.length - count);
                if (more == 0) {
                    break;
                }
                count += more;
            }
            boolean more = inflater.inflate(beyond) > 0;
            if (count < found.length || more || !inflater.finished()) {
                throw new BundleException(name + " is damaged: it declares a wrong size");
            }
        } catch (DataFormatException error) {
            throw new BundleException(name + " is damaged: it cannot be inflated", error);
        } finally {
            inflater.end();
        }
        return found;
    }

    private ByteBuffer buffer(long at, long count) throws IOException {
        return ByteBuffer.wrap(source.read(at, count)).order(ByteOrder.LITTLE_ENDIAN);
    }
}
