"""Budgets: what every setting of a policy's knob costs and scores, and the setting that meets an average cost.

The gate's knob is a shift of its logits, the cascade's a threshold of confidence. Both are saved with the model and
read at run time, so that a new budget retraces nothing.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ds_keras.policies import NO_TABLE, Policy, knob_at
from ds_keras.routing import gate_logits, predict_levels, relative_costs

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def measure_budget(model: "Supernet", x: Any, labels: Any, points: int = 41) -> dict[str, list]:
    """Measures, on held-out images, what every setting of each policy's knob costs and scores.

    Args:
        model: supernet; its ``budget_table`` is replaced.
        x: (count, height, width, channels) images in [0, 255] that neither stage was trained on.
        labels: (count,) integer classes.
        points: settings for each policy, evenly spaced in cost.

    Returns:
        {"gate" | "cascade": [[knob, average MAdds, accuracy in [0, 1]], ...] by rising cost, "levels": [...]}; the
        last lists [level, MAdds, accuracy] of the fixed levels.
    """
    labels = np.asarray(labels)
    every = predict_levels(model, x)
    right = every.argmax(-1) == labels
    start, gate, _ = model.costs[0]
    bodies = np.array([part.body for part in model.costs], "float64")
    raw, relative = gate_logits(model, x), relative_costs(model)

    def gate_point(knob: float) -> list[float]:
        levels = (raw - np.float32(knob) * relative).argmax(1)
        accuracy = right[levels, np.arange(len(levels))].mean()
        return [float(knob), float(start + gate + bodies[levels].mean()), float(accuracy)]

    small, large = model.cascade
    confidence = tf.reduce_max(tf.nn.softmax(every[small]), axis=-1).numpy()
    ordered = np.sort(confidence)

    def cascade_point(share: float) -> list[float]:
        k = round(share * len(ordered))  # the k least confident images are run again
        below = ordered[k - 1] if k else 0.0
        above = ordered[k] if k < len(ordered) else 1.01
        knob = np.float32((below + above) / 2) if k else np.float32(0)
        again = confidence < knob
        accuracy = np.where(again, right[large], right[small]).mean()
        return [float(knob), float(start + bodies[small] + again.mean() * bodies[large]), float(accuracy)]

    steps = np.diff(relative)
    spread = float(np.abs(raw).max() * 2 + 1) / steps[steps > 0].min(initial=1.0)
    ends = gate_point(spread)[1], gate_point(-spread)[1]
    table = {
        "gate": [gate_point(_bisect(lambda k: gate_point(k)[1], c, spread)) for c in np.linspace(*ends, points)],
        "cascade": [cascade_point(share) for share in np.linspace(0, 1, points)],
        "levels": [[k, float(start + bodies[k]), float(right[k].mean())] for k in range(len(bodies))],
    }
    model.budget_table = {name: sorted(rows, key=lambda row: row[1]) for name, rows in table.items()}
    return model.budget_table


def _bisect(cost: Any, target: float, spread: float) -> float:
    """The knob whose cost is nearest below ``target``; cost falls as the knob rises."""
    low, high = -spread, spread
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high


def knob_for(model: "Supernet", policy: Policy, fraction: float | None = None, madds: float | None = None) -> float:
    """The knob that meets an average cost, from the model's budget table.

    Args:
        model: supernet with a budget table.
        policy: "gate" or "cascade".
        fraction: average MAdds as a fraction of the largest level's; or
        madds: average MAdds.

    Returns:
        Gate shift or cascade threshold.

    Raises:
        ValueError: see ``policies.knob_at``.
    """
    return knob_at(model.budget_table, policy, model.costs[-1].start + model.costs[-1].body, fraction, madds)


def set_budget(
    model: "Supernet", fraction: float | None = None, madds: float | None = None, policy: Policy | None = None
) -> None:
    """Sets the knob of a policy so that it spends a given average cost. Saved with the weights; nothing retraces.

    Args:
        model: supernet with a budget table.
        fraction: average MAdds as a fraction of the largest level's; or
        madds: average MAdds.
        policy: "gate" or "cascade"; default the model's ``default_policy``.

    Raises:
        ValueError: see ``knob_for``.

    Example:
        >>> model.set_budget(fraction=0.4)
    """
    policy = model.default_policy if policy is None else policy
    knob = knob_for(model, policy, fraction, madds)
    model.build()
    (model.cascade_threshold if policy == "cascade" else model.gate_shift).assign(knob)


def choose_policy(model: "Supernet", tolerance: float = 0.003) -> tuple[Policy, float]:
    """Makes the cheapest setting that loses at most ``tolerance`` on the budget table's images the default.

    Args:
        model: supernet with a budget table.
        tolerance: accuracy below the largest level's, in [0, 1].

    Returns:
        The policy (or level) and its average MAdds.

    Raises:
        ValueError: no budget table.
    """
    if not model.budget_table:
        raise ValueError(NO_TABLE)
    floor = model.budget_table["levels"][-1][2] - tolerance
    rows = [(row[1], name, row[0]) for name, table in model.budget_table.items() for row in table if row[2] >= floor]
    cost, name, knob = min(rows)
    model.default_policy = int(knob) if name == "levels" else name
    if name != "levels":
        model.build()
        (model.cascade_threshold if name == "cascade" else model.gate_shift).assign(knob)
    return model.default_policy, cost
