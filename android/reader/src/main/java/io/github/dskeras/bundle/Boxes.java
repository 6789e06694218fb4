package io.github.dskeras.bundle;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** The boxes that a detector found on one image: of boxes of one thing, the surest. The library's rule, in float. */
public final class Boxes {
    /** Boxes of a class count as one thing where their intersection over union is larger, by default. */
    public static final float IOU = 0.5f;
    /** Boxes of a photo at most, by default. */
    public static final int MOST = 100;

    private static final int CANDIDATES = 500; // of the best scores of a class
    private static final int OF_ALL = 50000; // of the best scores of all classes together

    /** Something that was found. */
    public static final class Box {
        /** Left side, as a fraction of the image's width. */
        public final float left;
        /** Upper side, as a fraction of the image's height. */
        public final float top;
        /** Right side, as a fraction of the image's width. */
        public final float right;
        /** Lower side, as a fraction of the image's height. */
        public final float bottom;
        /** How sure it is, in [0, 1]. */
        public final float score;
        /** Number of its class: place in the labels of the manifest. */
        public final int kind;

        Box(float[] boxes, int place, float score, int kind) {
            left = inside(boxes[4 * place]);
            top = inside(boxes[4 * place + 1]);
            right = inside(boxes[4 * place + 2]);
            bottom = inside(boxes[4 * place + 3]);
            this.score = score;
            this.kind = kind;
        }

        private static float inside(float side) {
            return Math.min(Math.max(side, 0), 1);
        }
    }

    private Boxes() {}

    /**
     * Non-maximum suppression: of boxes of one class that overlap, the surest stays.
     *
     * @param boxes left, top, right and bottom of every location, one after another
     * @param scores of every class, for one location after another
     * @param threshold smallest score of a box that is kept, in [0, 1]
     * @param iou boxes of a class overlap where their intersection over union is larger, in [0, 1]
     * @param most boxes to keep, at least 1
     * @return the boxes of all classes, the surest first
     * @throws IllegalArgumentException for another value, or where boxes and scores do not fit
     */
    public static List<Box> choose(float[] boxes, float[] scores, float threshold, float iou, int most) {
        check("threshold", threshold);
        check("iou", iou);
        int count = boxes.length / 4;
        if (most < 1 || count == 0 || boxes.length % 4 != 0 || scores.length == 0 || scores.length % count != 0) {
            throw new IllegalArgumentException(
                    "most of 1 at least, and as many scores for each box, received "
                            + most + ", " + boxes.length + " numbers of boxes and " + scores.length + " scores");
        }
        int classes = scores.length / count;
        int each = Math.max(1, Math.min(CANDIDATES, OF_ALL / classes));
        List<Box> found = new ArrayList<>();
        for (int kind = 0; kind < classes; kind++) {
            List<Integer> kept = new ArrayList<>();
            for (int place : surest(boxes, scores, kind, threshold, each)) {
                boolean free = kept.size() < most;
                for (int i = 0; free && i < kept.size(); i++) {
                    free = !(overlap(boxes, kept.get(i), place) > iou);
                }
                if (free) {
                    kept.add(place);
                    found.add(new Box(boxes, place, scores[place * classes + kind], kind));
                }
            }
        }
        Collections.sort(found, (a, b) -> falling(a.score, b.score)); // List.sort is missing on older Androids
        return found.size() > most ? new ArrayList<>(found.subList(0, most)) : found;
    }

    /** Locations of the best scores of a class, the surest first; of equal ones the first. */
    private static List<Integer> surest(float[] boxes, float[] scores, int kind, float threshold, int each) {
        int count = boxes.length / 4;
        int classes = scores.length / count;
        float[] values = new float[count];
        int candidates = 0;
        for (int i = 0; i < count; i++) {
            if (scores[i * classes + kind] >= threshold && isFinite(boxes, i)) {
                values[candidates++] = scores[i * classes + kind];
            }
        }
        Arrays.sort(values, 0, candidates);
        float last = candidates > each ? values[candidates - each] : threshold; // the smallest score that is taken
        int room = candidates > each ? each : Integer.MAX_VALUE; // for scores that equal it
        for (int i = candidates - 1; candidates > each && i >= 0 && values[i] > last; i--) {
            room--;
        }
        List<Integer> found = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            float score = scores[i * classes + kind];
            if (score >= last && isFinite(boxes, i) && (score > last || room-- > 0)) {
                found.add(i);
            }
        }
        Collections.sort(found, (a, b) -> falling(scores[a * classes + kind], scores[b * classes + kind]));
        return found;
    }

    private static int falling(float a, float b) {
        return a > b ? -1 : a < b ? 1 : 0; // Float.compare would tell 0 and -0 apart
    }

    private static boolean isFinite(float[] boxes, int place) {
        boolean finite = true;
        for (int i = 4 * place; i < 4 * place + 4; i++) {
            finite &= Math.abs(boxes[i]) <= Float.MAX_VALUE;
        }
        return finite;
    }

    /** Intersection over union. */
    private static float overlap(float[] boxes, int a, int b) {
        float common = shared(boxes, a, b, 0) * shared(boxes, a, b, 1);
        float all = area(boxes, a) + area(boxes, b) - common;
        return common / Math.max(all, 1e-12f);
    }

    private static float shared(float[] boxes, int a, int b, int axis) {
        float low = Math.max(boxes[4 * a + axis], boxes[4 * b + axis]);
        float high = Math.min(boxes[4 * a + 2 + axis], boxes[4 * b + 2 + axis]);
        return Math.max(high - low, 0);
    }

    private static float area(float[] boxes, int a) {
        float width = Math.max(boxes[4 * a + 2] - boxes[4 * a], 0);
        return width * Math.max(boxes[4 * a + 3] - boxes[4 * a + 1], 0);
    }

    private static void check(String name, float value) {
        if (!(value >= 0 && value <= 1)) {
            throw new IllegalArgumentException(name + " must be in [0, 1], received " + value);
        }
    }
}
