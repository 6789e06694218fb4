package io.github.dskeras.bundle;

import java.util.List;

/** A row of the budget table: what a policy costs and scores at some knobs. */
public final class Row {
    /** The gate's shift, the cascade's thresholds or the level; cannot be changed. */
    public final List<Double> knobs;
    /** Average multiply-adds of an image. */
    public final double madds;
    /** Share of the images that were classified right. */
    public final double accuracy;
    /** How often each level's body runs for an image, on average; null in older bundles. Cannot be changed. */
    public final List<Double> passes;

    Row(List<Double> knobs, double madds, double accuracy, List<Double> passes) {
        this.knobs = knobs;
        this.madds = madds;
        this.accuracy = accuracy;
        this.passes = passes;
    }
}
