"""Budgets: what every setting of a policy's knobs costs and scores, and the setting that meets an average cost.

The gate's knob is a shift of its logits, the cascade's are thresholds of confidence, one for each level but its last.
They are saved with the model and read at run time, so that a new budget retraces nothing.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.policies.base import NO_TABLE, Policy, Times, check_chain, knobs_at
from ds_keras.policies.cascade_search import LONGEST, search
from ds_keras.policies.labels import check_classes
from ds_keras.routing.execute import gate_logits, predict_levels, relative_costs
from ds_keras.routing.replay import Scored, passes

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
        {"gate" | "cascade": [[knobs, average MAdds, accuracy in [0, 1], passes], ...] by rising cost, "levels": [...]};
        the last lists [[level], MAdds, accuracy, passes] of the fixed levels. Passes are how often each level's body
        runs for an image, on average: (levels,).

    Raises:
        ValueError: bad argument.
    """
    labels = check_classes(labels, len(x), model.num_classes)
    if not isinstance(points, int) or points < 2:
        raise ValueError(f"points must be an integer of at least 2, received {points!r}")
    if cascade is not None and len(check_chain(cascade, len(model.levels))) > LONGEST:
        raise ValueError(f"cascade must have at most {LONGEST} levels to be measured, received {cascade!r}")
    every = predict_levels(model, x)
    scored = Scored(every, gate_logits(model, x), labels)
    start, gate, _ = model.costs[0]
    bodies = np.array([part.body for part in model.costs], "float64")
    raw, right, relative = scored.gate, scored.right, relative_costs(model)

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
    return _add_passes(model, scored)


def measure_passes(model: "Supernet", x: Any) -> dict[str, list]:
    """Adds to every row of a budget table that lacks them how often each level runs; nothing else changes.

    Args:
        model: supernet with a budget table.
        x: (count, height, width, channels) held-out images in [0, 255]; they need no labels.

    Returns:
        The table, as ``measure_budget`` gives it.

    Raises:
        ValueError: no budget table.
    """
    if not model.budget_table:
        raise ValueError(NO_TABLE)
    return _add_passes(model, Scored(predict_levels(model, x), gate_logits(model, x), np.zeros(len(x), int)))


def _add_passes(model: "Supernet", scored: Scored) -> dict[str, list]:
    def of(name: str, knobs: list) -> list[float]:
        policy = int(knobs[0]) if name == "levels" else name
        return passes(model, scored, policy, np.array(knobs, "float32")).mean(0).round(6).tolist()

    model.budget_table = {
        name: [[*row[:3], row[3] if len(row) == 4 else of(name, row[0])] for row in rows]
        for name, rows in model.budget_table.items()
    }
    return model.budget_table


def _bisect(cost: Any, target: float, spread: float) -> float:
    """The knob whose cost is nearest below ``target``; cost falls as the knob rises."""
    low, high = -spread, spread
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high


def knobs_for(
    model: "Supernet",
    policy: Policy,
    fraction: float | None = None,
    madds: float | None = None,
    milliseconds: float | None = None,
    times: Times | None = None,
) -> np.ndarray:
    """The knobs that meet an average cost, from the model's budget table.

    Args:
        model: supernet with a budget table.
        policy: "gate" or "cascade".
        fraction: average MAdds as a fraction of the largest level's; or
        madds: average MAdds; or
        milliseconds: average time of an image that is run alone, with
        times: of the device's parts.

    Returns:
        (knobs,) float32: the gate's shift, or the cascade's thresholds.

    Raises:
        ValueError: see ``policies.knobs_at``.
    """
    largest = model.costs[-1].start + model.costs[-1].body
    return knobs_at(model.budget_table, policy, largest, fraction, madds, milliseconds, times)


def set_budget(
    model: "Supernet",
    fraction: float | None = None,
    madds: float | None = None,
    policy: Policy | None = None,
    milliseconds: float | None = None,
    times: Times | None = None,
) -> None:
    """Sets the knobs of a policy so that it spends a given average cost. Saved with the weights; nothing retraces.

    Args:
        model: supernet with a budget table.
        fraction: average MAdds as a fraction of the largest level's; or
        madds: average MAdds; or
        milliseconds: average time of an image that is run alone on a device; with it
        times: of the parts of the model's bundle there: ``runtime.Session.benchmark()``.
        policy: "gate" or "cascade"; default the model's ``default_policy``.

    Raises:
        ValueError: see ``knobs_for``.

    Example:
        >>> model.set_budget(fraction=0.4)
        >>> model.set_budget(milliseconds=0.5, times=session.benchmark())
    """
    policy = model.default_policy if policy is None else policy
    _assign(model, policy, knobs_for(model, policy, fraction, madds, milliseconds, times))


def choose_policy(model: "Supernet", tolerance: float = 0.003) -> tuple[Policy, float]:
    """Makes the cheapest setting that loses at most ``tolerance`` on the budget table's images the default.

    Args:
        model: supernet with a budget table.
        tolerance: accuracy below the largest level's, in [0, 1].

    Returns:
        The policy (or level) and its average MAdds.

    Raises:
        ValueError: no budget table, or a tolerance that is not in [0, 1].
    """
    if not model.budget_table.get("levels"):
        raise ValueError(NO_TABLE)
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance must be in [0, 1], received {tolerance!r}")
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
