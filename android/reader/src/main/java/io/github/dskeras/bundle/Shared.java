package io.github.dskeras.bundle;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Reads the plan of a file of format version 3: the files of a level share what is equal, and use the route's bytes.
 *
 * <p>A file's graph and tail are put together from pieces: bytes of its own (literals), and copies from what was there
 * before. Every size is checked before it is allocated.
 */
final class Shared {
    /** Files of a part: a level's entry and body; each may be made of what was put together before. */
    private static final int MAX_FILES = 2;

    private Shared() {}

    /**
     * Reads a plan.
     *
     * @param route part of the route
     * @param level part of the file's level; null for the route itself
     * @param name of the file
     * @param manifest of the bundle
     * @return the plan, checked
     * @throws IOException where a part is damaged
     */
    static Plan plan(byte[] route, byte[] level, String name, Manifest manifest) throws IOException {
        Archive archive = new Archive(Source.of(route));
        byte[] pattern = archive.read("pattern.bin", Bundle.MAX_GRAPH, false);
        byte[] words = planes(archive.read("words.bin", Bundle.MAX_INDEX, false));
        if (level != null) {
            archive = new Archive(Source.of(level));
            words = joined(words, planes(archive.read("words.bin", Bundle.MAX_INDEX, false)));
        }
        byte[] text = archive.read("plan.json", Bundle.MAX_INDEX, false);
        Map<String, Object> plan = Check.object(Json.parse(text), "a plan");
        byte[] literals = archive.read("literals.bin", Bundle.MAX_GRAPH, false);
        List<Object> copies = Check.list(Check.field(plan, "copies"), "copies");
        byte[] source = joined(words, pattern);
        int used = 0;
        List<Object> files = Check.list(Check.field(plan, "files"), "files");
        Check.need(files.size() <= MAX_FILES, "at most " + MAX_FILES + " files in a part", files.size() + " files");
        for (Object value : files) {
            Map<String, Object> file = Check.object(value, "a file");
            Manifest.Template entry = manifest.files.get(Check.field(file, "name"));
            Check.need(entry != null, "files of the bundle", file.get("name"));
            long size = entry.made.bytes;
            long graph = Check.whole(Check.field(file, "graph"), 1, Math.min(size, Bundle.MAX_GRAPH));
            long tail = Check.whole(Check.field(file, "tail"), 0, Math.min(size - graph, Bundle.MAX_INDEX));
            int[][] pieces = pieces(Check.field(file, "pieces"), source.length, literals.length - used, graph + tail);
            byte[] made = Source.allocate(graph + tail);
            int at = 0;
            for (int[] piece : pieces) {
                System.arraycopy(literals, used, made, at, piece[0]);
                System.arraycopy(source, piece[1], made, at + piece[0], piece[2]);
                used += piece[0];
                at += piece[0] + piece[2];
            }
            if (name.equals(file.get("name"))) {
                List<Object> rows = new ArrayList<>();
                for (Object row : Check.list(Check.field(file, "copies"), "copies")) {
                    rows.add(copies.get((int) Check.whole(row, 0, copies.size() - 1)));
                }
                float[] values = new float[words.length / 4];
                ByteBuffer.wrap(words).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
                byte[] front = Arrays.copyOf(made, (int) graph);
                byte[] behind = Arrays.copyOfRange(made, (int) graph, made.length);
                return new Plan(rows, manifest, front, values, behind, (int) size);
            }
            source = joined(source, made);
        }
        throw new BundleException("it has no " + name);
    }

    /** Pieces as [literals, place in the source, bytes from there]; together they have {@code count} bytes. */
    private static int[][] pieces(Object value, int source, int literals, long count) throws BundleException {
        List<Object> given = Check.list(value, "pieces");
        int[][] found = new int[given.size()][];
        long place = 0;
        for (int i = 0; i < found.length; i++) {
            List<Object> piece = Check.list(given.get(i), "a piece");
            Check.need(piece.size() == 3, "pieces of three numbers", piece);
            long own = Check.whole(piece.get(0), 0, Math.min(count, literals));
            place += Check.whole(piece.get(1), -place, source - place);
            long copied = Check.whole(piece.get(2), 0, Math.min(count - own, source - place));
            found[i] = new int[] {(int) own, (int) place, (int) copied};
            literals -= (int) own;
            count -= own + copied;
            place += copied;
        }
        Check.need(count == 0, "pieces that make a graph and a tail", count);
        return found;
    }

    /** Numbers of four bytes, whose first bytes lie together, then the second ones, ...: one behind another. */
    private static byte[] planes(byte[] data) throws BundleException {
        Check.need(data.length % 4 == 0, "whole numbers of words", data.length + " bytes");
        byte[] found = Source.allocate(data.length);
        int count = data.length / 4;
        for (int i = 0; i < data.length; i++) {
            found[i] = data[i % 4 * count + i / 4];
        }
        return found;
    }

    private static byte[] joined(byte[] first, byte[] second) throws BundleException {
        byte[] found = Source.allocate((long) first.length + second.length);
        System.arraycopy(first, 0, found, 0, first.length);
        System.arraycopy(second, 0, found, first.length, second.length);
        return found;
    }
}
