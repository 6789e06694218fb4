"""Budgets: what every setting of a policy's knobs costs and scores, and the setting that meets an average cost.

The gate's knob is a shift of its logits, the cascade's are thresholds of confidence, one for each level but its last.
They are saved with the model and read at run time, so that a new budget retraces nothing.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.cascades import LONGEST, search
from ds_keras.policies import NO_TABLE, Policy, check_chain, knobs_at
from ds_keras.routing import gate_logits, predict_levels, relative_costs

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def measure_budget(
    model: "Supernet", x: Any, labels: Any, points: int = 41, cascade: tuple[int, ...] | None = None
) -> dict[str, list]:
    """Measures, on held-out images, what every setting of each policy's knobs costs and scores.

    Args:
        model: supernet; its ``budget_table`` and its ``cascade`` are replaced.
        x: (count, height, width, channels) images in [0, 255] that neither stage was trained on.
        labels: (count,) integer classes.
        points: settings of each knob: the gate's evenly spaced in cost, the cascade's in the images that go on.
        cascade: two or three levels; default the chain that is best on these images (see ``cascades.search``).

    Returns:
        {"gate" | "cascade": [[knobs, average MAdds, accuracy in [0, 1]], ...] by rising cost, "levels": [...]}; the
        last lists [[level], MAdds, accuracy] of the fixed levels.

    Raises:
        ValueError: bad argument.
    """
    labels = np.asarray(labels)
    if cascade is not None and len(check_chain(cascade, len(model.levels))) > LONGEST:
        raise ValueError(f"cascade must have at most {LONGEST} levels to be measured, received {cascade!r}")
    every = predict_levels(model, x)
    right = every.argmax(-1) == labels
    start, gate, _ = model.costs[0]
    bodies = np.array([part.body for part in model.costs], "float64")
    raw, relative = gate_logits(model, x), relative_costs(model)

    def gate_point(shift: float) -> list:
        levels = (raw - np.float32(shift) * relative).argmax(1)
        accuracy = right[levels, np.arange(len(levels))].mean()
        return [[float(shift)], float(start + gate + bodies[levels].mean()), float(accuracy)]

    steps = np.diff(relative)
    spread = float(np.abs(raw).max() * 2 + 1) / steps[steps > 0].min(initial=1.0)
    ends = gate_point(spread)[1], gate_point(-spread)[1]
    path = search(every, labels, start, bodies, points, None if cascade is None else [tuple(cascade)])
    model.cascade = path.chain
    table = {
        "gate": [gate_point(_bisect(lambda k: gate_point(k)[1], c, spread)) for c in np.linspace(*ends, points)],
        "cascade": [
            [thresholds.tolist(), float(madds), float(accuracy)]
            for thresholds, madds, accuracy in zip(path.thresholds, path.madds, path.accuracy, strict=True)
        ],
        "levels": [[[k], float(start + bodies[k]), float(right[k].mean())] for k in range(len(bodies))],
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


def knobs_for(
    model: "Supernet", policy: Policy, fraction: float | None = None, madds: float | None = None
) -> np.ndarray:
    """The knobs that meet an average cost, from the model's budget table.

    Args:
        model: supernet with a budget table.
        policy: "gate" or "cascade".
        fraction: average MAdds as a fraction of the largest level's; or
        madds: average MAdds.

    Returns:
        (knobs,) float32: the gate's shift, or the cascade's thresholds.

    Raises:
        ValueError: see ``policies.knobs_at``.
    """
    return knobs_at(model.budget_table, policy, model.costs[-1].start + model.costs[-1].body, fraction, madds)


def set_budget(
    model: "Supernet", fraction: float | None = None, madds: float | None = None, policy: Policy | None = None
) -> None:
    """Sets the knobs of a policy so that it spends a given average cost. Saved with the weights; nothing retraces.

    Args:
        model: supernet with a budget table.
        fraction: average MAdds as a fraction of the largest level's; or
        madds: average MAdds.
        policy: "gate" or "cascade"; default the model's ``default_policy``.

    Raises:
        ValueError: see ``knobs_for``.

    Example:
        >>> model.set_budget(fraction=0.4)
    """
    policy = model.default_policy if policy is None else policy
    _assign(model, policy, knobs_for(model, policy, fraction, madds))


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
    cost, name, knobs = min(rows)
    model.default_policy = int(knobs[0]) if name == "levels" else name
    if name != "levels":
        _assign(model, name, knobs)
    return model.default_policy, cost


def _assign(model: "Supernet", policy: Policy, knobs: Any) -> None:
    """Sets a policy's knobs; a chain shorter than the longest leaves the last ones at 0."""
    model.build()
    variable = model.cascade_thresholds if policy == "cascade" else model.gate_shift
    variable.assign(np.pad(np.asarray(knobs, "float32"), (0, variable.shape[0] - len(knobs))))
