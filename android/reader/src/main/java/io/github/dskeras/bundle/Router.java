package io.github.dskeras.bundle;

import java.util.List;
import java.util.Locale;

/** Picks levels as the library does: by the gate, by the cascade's confidence, or to meet a budget. */
public final class Router {
    /** Policy: the gate's logits pick the level. */
    public static final String GATE = "gate";
    /** Policy: a small level first, the large one where it is not sure. */
    public static final String CASCADE = "cascade";

    private final Manifest manifest;

    /**
     * Makes a router.
     *
     * @param manifest of the bundle
     */
    public Router(Manifest manifest) {
        this.manifest = manifest;
    }

    /**
     * Gives the knob that the bundle was exported with.
     *
     * @param policy {@link #GATE} or {@link #CASCADE}
     * @return gate shift or cascade threshold
     * @throws IllegalArgumentException for another policy
     */
    public double knob(String policy) {
        checkLearned(policy);
        return policy.equals(GATE) ? manifest.gateShift : manifest.cascadeThreshold;
    }

    /**
     * Looks up the knob that meets an average cost, by linear interpolation in the bundle's budget table.
     *
     * @param policy {@link #GATE} or {@link #CASCADE}
     * @param fraction average multiply-adds as a fraction of the largest level's
     * @return gate shift or cascade threshold
     * @throws IllegalArgumentException no table, or a budget out of reach (the message names the interval)
     */
    public double knobAt(String policy, double fraction) {
        checkLearned(policy);
        List<double[]> rows = manifest.budgetTable.get(policy);
        if (rows == null || rows.isEmpty()) {
            throw new IllegalArgumentException("the bundle has no budget table for policy '" + policy + "'");
        }
        double largest = manifest.startMadds + manifest.bodyMadds[manifest.numLevels() - 1];
        double wanted = fraction * largest;
        double slack = 1e-6 * largest;
        double low = rows.get(0)[1];
        double high = rows.get(rows.size() - 1)[1];
        if (!(low - slack <= wanted && wanted <= high + slack)) {
            throw new IllegalArgumentException(
                    String.format(
                            Locale.ROOT,
                            "a budget of %.3f MMAdds (%.3f of the largest level) is out of reach of policy '%s': "
                                    + "it must lie in [%.3f, %.3f] MMAdds, a fraction in [%.3f, %.3f]",
                            wanted / 1e6,
                            wanted / largest,
                            policy,
                            low / 1e6,
                            high / 1e6,
                            low / largest,
                            high / largest));
        }
        return interpolate(rows, wanted);
    }

    private static double interpolate(List<double[]> rows, double wanted) {
        double[] below = null;
        for (double[] row : rows) { // costs rise from row to row
            if (row[1] > wanted) {
                if (below == null) {
                    return row[0];
                }
                return (row[0] - below[0]) / (row[1] - below[1]) * (wanted - below[1]) + below[0];
            }
            below = row;
        }
        return below[0];
    }

    /**
     * Picks a level by the gate: the argmax of logit less knob x relative cost of the body; the first of equal ones.
     *
     * @param logits of the gate
     * @param knob gate shift: larger is cheaper
     * @return the level
     * @throws IllegalArgumentException where there is not one logit for each level
     */
    public int gateLevel(float[] logits, double knob) {
        int levels = manifest.numLevels();
        if (logits.length != levels) {
            throw new IllegalArgumentException("a gate of " + levels + " logits, received " + logits.length);
        }
        double largest = manifest.bodyMadds[levels - 1];
        int best = 0;
        double highest = Double.NEGATIVE_INFINITY;
        for (int level = 0; level < levels; level++) {
            double score = logits[level] - (float) knob * (manifest.bodyMadds[level] / largest);
            if (score > highest) {
                best = level;
                highest = score;
            }
        }
        return best;
    }

    /**
     * Says whether the cascade stays with its small level: the softmax's largest probability reaches the threshold.
     *
     * @param logits of the small level
     * @param threshold the knob: larger is dearer
     * @return false where the large level must run too
     */
    public boolean isSure(float[] logits, double threshold) {
        return !(confidence(logits) < (float) threshold);
    }

    /**
     * Computes the largest probability of the softmax. Within a rounding of the library's float32 value: an image that
     * lies on the threshold to the last digit may be routed otherwise.
     *
     * @param logits of a level
     * @return a probability
     */
    public static float confidence(float[] logits) {
        float highest = Float.NEGATIVE_INFINITY;
        for (float logit : logits) {
            highest = Math.max(highest, logit);
        }
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - highest);
        }
        return (float) (1 / sum);
    }

    /**
     * Checks a fixed level.
     *
     * @param level from 0
     * @param levels of the bundle
     * @return the level
     * @throws IllegalArgumentException where there is no such level
     */
    public static int checkLevel(int level, int levels) {
        if (level < 0 || level >= levels) {
            throw new IllegalArgumentException("a level in [0, " + levels + "), received " + level);
        }
        return level;
    }

    private static void checkLearned(String policy) {
        if (!GATE.equals(policy) && !CASCADE.equals(policy)) {
            throw new IllegalArgumentException("policy must be 'gate' or 'cascade', received '" + policy + "'");
        }
    }
}
