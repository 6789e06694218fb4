package io.github.dskeras.bundle;

import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/** Picks levels as the library does: by the gate, by the cascade's confidence, or to meet a budget. */
public final class Router {
    /** Policy: the gate's logits pick the level. */
    public static final String GATE = "gate";
    /** Policy: the cascade's levels one after another, until one is sure. */
    public static final String CASCADE = "cascade";

    /** The policies that have knobs. */
    static final Set<String> LEARNED =
            Collections.unmodifiableSet(new LinkedHashSet<>(Arrays.asList(GATE, CASCADE)));

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
     * Gives the knobs that the bundle was exported with.
     *
     * @param policy {@link #GATE} or {@link #CASCADE}
     * @return the gate's shift, or the cascade's thresholds
     * @throws IllegalArgumentException for another policy
     */
    public float[] knobs(String policy) {
        checkLearned(policy);
        List<Double> given = manifest.knobs.get(policy);
        float[] found = new float[given.size()];
        for (int i = 0; i < found.length; i++) {
            found[i] = given.get(i).floatValue();
        }
        return found;
    }

    /**
     * Checks knobs that a caller sets.
     *
     * @param policy {@link #GATE} or {@link #CASCADE}
     * @param values the gate's shift, or a threshold for each level of the cascade but the last
     * @return a copy of them
     * @throws IllegalArgumentException another number of them, or one that is no number
     */
    public float[] checkKnobs(String policy, float... values) {
        int count = knobs(policy).length;
        boolean numbers = true;
        for (float value : values) {
            numbers &= value == value;
        }
        if (values.length != count || !numbers) {
            throw new IllegalArgumentException(
                    "policy '" + policy + "' has " + count + " knobs, each a number, received " + Arrays.toString(values));
        }
        return values.clone();
    }

    /**
     * Looks up the knobs that meet an average cost, by linear interpolation in the bundle's budget table.
     *
     * @param policy {@link #GATE} or {@link #CASCADE}
     * @param fraction average multiply-adds as a fraction of the largest level's, at most 1
     * @return the gate's shift, or the cascade's thresholds
     * @throws IllegalArgumentException no table, a fraction above 1, or a budget out of reach (the message names the
     *     least)
     */
    public float[] knobsAt(String policy, double fraction) {
        checkLearned(policy);
        if (fraction > 1) {
            throw new IllegalArgumentException(
                    "fraction must be at most 1, which is the cost of the largest level, received " + fraction
                    + ": give 0.3 for 30 %. A cascade may cost more, because it runs several levels: madds= sets such a"
                    + " budget");
        }
        List<Row> rows = manifest.budgetTable.get(policy);
        if (rows == null || rows.isEmpty()) {
            throw new IllegalArgumentException("the bundle has no budget table for policy '" + policy + "'");
        }
        double largest = manifest.startMadds + manifest.bodyMadds[manifest.numLevels() - 1];
        double wanted = fraction * largest;
        double slack = 1e-6 * largest;
        double low = rows.get(0).madds;
        if (!(low - slack <= wanted)) {
            throw new IllegalArgumentException(
                    String.format(
                            Locale.ROOT,
                            "a budget of %.3f MMAdds (%.3f of the largest level) is out of reach of policy '%s': "
                                    + "it must be at least %.3f MMAdds, a fraction of %.3f",
                            wanted / 1e6,
                            wanted / largest,
                            policy,
                            low / 1e6,
                            low / largest));
        }
        double[] costs = new double[rows.size()];
        for (int i = 0; i < costs.length; i++) {
            costs[i] = rows.get(i).madds;
        }
        return interpolate(rows, costs, wanted);
    }

    /**
     * Looks up the knobs that meet an average time, from the passes of each level in the bundle's budget table. A row
     * that the device runs faster than a cheaper one counts as slow as that one.
     *
     * @param policy {@link #GATE} or {@link #CASCADE}
     * @param milliseconds average time of an image
     * @param start milliseconds of what every image pays besides: the shared start, under the gate its layers too
     * @param bodies milliseconds of each level's body
     * @param judge milliseconds that a pass of the cascade takes besides its body
     * @return the gate's shift, or the cascade's thresholds
     * @throws IllegalArgumentException no table, one without passes, or a time out of reach (the message names the
     *     least; a generous one is met by the table's last row)
     */
    public float[] knobsAtMilliseconds(
            String policy, double milliseconds, double start, double[] bodies, double judge) {
        checkLearned(policy);
        List<Row> rows = manifest.budgetTable.get(policy);
        if (rows == null || rows.isEmpty()) {
            throw new IllegalArgumentException("the bundle has no budget table for policy '" + policy + "'");
        }
        if (bodies.length != manifest.numLevels()) {
            throw new IllegalArgumentException(manifest.numLevels() + " bodies, received " + bodies.length);
        }
        double[] costs = new double[rows.size()];
        for (int i = 0; i < costs.length; i++) {
            List<Double> passes = rows.get(i).passes;
            if (passes == null) {
                throw new IllegalArgumentException("the bundle's budget table lacks the passes of each level");
            }
            double cost = 0;
            for (int level = 0; level < bodies.length; level++) {
                cost += passes.get(level) * (bodies[level] + (policy.equals(CASCADE) ? judge : 0));
            }
            costs[i] = Math.max(start + cost, i == 0 ? 0 : costs[i - 1]);
        }
        double low = costs[0];
        if (!(low - 1e-6 * costs[costs.length - 1] <= milliseconds)) {
            throw new IllegalArgumentException(
                    String.format(
                            Locale.ROOT,
                            "a budget of %.3f ms is out of reach of policy '%s': it must be at least %.3f ms",
                            milliseconds,
                            policy,
                            low));
        }
        return interpolate(rows, costs, milliseconds);
    }

    /** Each knob as {@code numpy.interp} finds it: of rows of equal cost, the last one counts. */
    private static float[] interpolate(List<Row> rows, double[] costs, double wanted) {
        int next = 0; // the first row that costs more
        while (next < costs.length && costs[next] <= wanted) {
            next++;
        }
        int below = Math.max(next - 1, 0);
        int above = Math.min(next, costs.length - 1);
        float[] found = new float[rows.get(below).knobs.size()];
        for (int i = 0; i < found.length; i++) {
            double knob = rows.get(below).knobs.get(i);
            if (below != above && costs[below] < wanted) {
                double slope = (rows.get(above).knobs.get(i) - knob) / (costs[above] - costs[below]);
                knob = slope * (wanted - costs[below]) + knob;
            }
            found[i] = (float) knob;
        }
        return found;
    }

    /**
     * Picks a level by the gate: the argmax of logit less shift x relative cost of the body; the first of equal ones.
     *
     * @param logits of the gate
     * @param shift the knob: larger is cheaper
     * @return the level
     * @throws IllegalArgumentException where there is not one logit for each level
     */
    public int gateLevel(float[] logits, float shift) {
        int levels = manifest.numLevels();
        if (logits.length != levels) {
            throw new IllegalArgumentException("a gate of " + levels + " logits, received " + logits.length);
        }
        double largest = manifest.bodyMadds[levels - 1];
        int best = 0;
        double highest = Double.NEGATIVE_INFINITY;
        for (int level = 0; level < levels; level++) {
            double score = logits[level] - shift * (manifest.bodyMadds[level] / largest);
            if (score > highest) {
                best = level;
                highest = score;
            }
        }
        return best;
    }

    /**
     * Says whether the cascade stays with a level: its margin reaches the threshold.
     *
     * @param logits of the level
     * @param threshold the level's knob: larger is dearer
     * @return false where the cascade's next level must run too
     */
    public static boolean isSure(float[] logits, float threshold) {
        return !(margin(logits) < threshold);
    }

    /**
     * Computes the confidence of a cascade: the softmax's largest probability less the second. Within a rounding of the
     * library's float32 value: an image that lies on the threshold to the last digit may be routed otherwise.
     *
     * @param logits of a level
     * @return a number in [0, 1]
     */
    public static float margin(float[] logits) {
        float highest = Float.NEGATIVE_INFINITY;
        float second = Float.NEGATIVE_INFINITY;
        for (float logit : logits) {
            second = Math.max(second, Math.min(highest, logit));
            highest = Math.max(highest, logit);
        }
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - highest);
        }
        return (float) ((1 - Math.exp(second - highest)) / sum);
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

    /** Refuses a policy that has no knobs. */
    static void checkLearned(String policy) {
        if (!LEARNED.contains(policy)) {
            throw new IllegalArgumentException("policy must be 'gate' or 'cascade', received '" + policy + "'");
        }
    }
}
