package io.github.dskeras.bundle;

import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** How sure a level is of all boxes on a photo together: the rule of a detector's cascade. */
public final class Doubt {
    /** The confidences that a bundle may name. */
    static final List<String> CONFIDENCES =
            Collections.unmodifiableList(Arrays.asList("entropy", "band", "mean", "least", "margin"));

    private static final float LEAST = 0.01f; // the smallest score that counts
    private static final float SHOWN = 0.3f; // from this score on, a box is shown by default
    private static final float LOW = 0.1f; // a score from here to HIGH may be of a thing or not
    private static final float HIGH = 0.5f;

    private Doubt() {}

    /**
     * Says whether the cascade stays with a level: its confidence reaches the threshold.
     *
     * @param boxes of every location, see {@link Boxes#choose}
     * @param scores of every location and class
     * @param confidence see {@link #confidence}
     * @param threshold the level's: larger is dearer
     * @return false where the cascade's next level must run too
     */
    public static boolean isSure(float[] boxes, float[] scores, String confidence, float threshold) {
        return !(confidence(Boxes.choose(boxes, scores, LEAST, Boxes.IOU, Boxes.MOST), confidence) < threshold);
    }

    /**
     * Computes how sure a level is of the boxes on one photo.
     *
     * @param found boxes that are left of overlapping ones
     * @param name "entropy" (the more entropy the scores have together, the less sure), "band" (the number of scores
     *     between 0.1 and 0.5), "mean" and "least" (of the scores of the boxes that are shown), or "margin" (of the
     *     nearest score to the threshold for what is shown)
     * @return a number in [0, 1]
     * @throws IllegalArgumentException for another name
     */
    public static float confidence(List<Boxes.Box> found, String name) {
        if (!CONFIDENCES.contains(name)) {
            throw new IllegalArgumentException("confidence must be one of " + CONFIDENCES + ", received '" + name + "'");
        }
        double entropy = 0;
        double sum = 0; // of what is shown
        double least = 1;
        double nearest = 0.5; // to what is shown
        int shown = 0;
        int doubtful = 0;
        for (Boxes.Box box : found) {
            float score = box.score;
            if (!(score >= LEAST)) {
                continue;
            }
            double p = Math.min(Math.max(score, 1e-6), 1 - 1e-6);
            entropy -= p * Math.log(p) + (1 - p) * Math.log(1 - p);
            doubtful += score > LOW && score < HIGH ? 1 : 0;
            nearest = Math.min(nearest, Math.abs(score - SHOWN));
            if (score >= SHOWN) {
                shown++;
                sum += score;
                least = Math.min(least, score);
            }
        }
        double sure;
        switch (name) {
            case "entropy":
                sure = 1 / (1 + entropy);
                break;
            case "band":
                sure = 1 / (1.0 + doubtful);
                break;
            case "mean":
                sure = shown == 0 ? 1 : sum / shown;
                break;
            case "least":
                sure = least;
                break;
            default:
                sure = 2 * nearest;
        }
        return (float) Math.min(Math.max(sure, 0), 1);
    }
}
