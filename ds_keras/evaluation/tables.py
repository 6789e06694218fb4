"""Figures of a model on a labelled set: every level, and every policy beside what it has to beat, at equal cost too."""

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ds_keras.core import cost
from ds_keras.core.levels import require_levels
from ds_keras.policies.base import Routed
from ds_keras.policies.budget_table import NO_TABLE
from ds_keras.policies.cascade import Cascade
from ds_keras.policies.labels import check_classes
from ds_keras.policies.registry import adjustable, names, policy_class
from ds_keras.routing import execute as routing
from ds_keras.routing.replay import Curve, Predictions, curves, route, score

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

SHARES = (20, 30, 40, 50, 60, 75)  # percent of the largest level's MAdds
DROPS = (0.3, 1.0)  # points below the largest level


class Figures(NamedTuple):
    """Figures of a preset, and the same as titled tables for a reader: rows with the names of the columns as keys."""

    figures: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]]


@functools.singledispatch
def evaluate_preset(model: Any, x: Any, labels: Any, card: dict[str, Any], batch_size: int = 256) -> Figures:
    """Figures of any type of network: here of a supernet, as ``evaluate`` gives them. Other types register their own.

    Args:
        model: the preset's network.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        card: of ``zoo.card``: what the preset's run chose on held-out images.
        batch_size: images at a time.

    Returns:
        ``Figures``.

    Raises:
        ValueError: see ``check_classes``.
    """
    found = evaluate(model, x, labels, batch_size)
    return Figures(found, found)


def evaluate(model: "Supernet", x: Any, labels: Any, batch_size: int = 256) -> dict[str, list[dict[str, Any]]]:
    """Accuracy and cost of every level, which runs once, and of every policy, which is replayed on the logits.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        {"levels": rows of level, top1, top5 (percent), madds, params; "policies": rows of policy, top1, madds, share
        (of the largest level's MAdds), mix (share of the images at each level)}. "static" interpolates the fixed
        levels at the default policy's cost; "random" draws levels with the default policy's mix.

    Raises:
        ValueError: see ``check_classes``, or a network without levels.
    """
    require_levels(model)
    return figures_of(model, score(model, x, labels, batch_size))


def figures_of(model: "Supernet", predictions: Predictions) -> dict[str, list[dict[str, Any]]]:
    """As ``evaluate``, from a pass that was made.

    Args:
        model: supernet.
        predictions: of the labelled images.

    Returns:
        See ``evaluate``.
    """
    labels = predictions.labels
    levels = level_rows(model, predictions.logits_by_level, labels)
    default = route(model, predictions)
    given: dict[str, Any] = {"mix": np.bincount(default.levels, minlength=len(levels)) / len(labels), "seed": 0}
    rows = [_row(model, f"default ({model.default_policy})", default, labels)]
    for name in names():
        options = {need: given[need] for need in policy_class(name).needs if need in given}
        rows.append(_row(model, name, route(model, predictions, name, **options), labels))
    costs, scores = [row["madds"] for row in levels], [row["top1"] for row in levels]
    spent = rows[0]["madds"]
    rows.append(
        {
            "policy": "static, interpolated",
            "top1": round(float(np.interp(spent, costs, scores)), 2),
            "madds": spent,
            "share": rows[0]["share"],
            "mix": None,
        }
    )
    return {"levels": levels, "policies": rows}


def evaluate_levels(model: "Supernet", x: Any, labels: Any, batch_size: int = 256) -> list[dict[str, Any]]:
    """Accuracy and cost of every level.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        Rows of level, top1, top5 (percent; top5 None where there are no more than 5 classes), madds, params.

    Raises:
        ValueError: see ``check_classes``, or a network without levels.
    """
    require_levels(model)
    labels = check_classes(labels, len(x), model.num_classes)
    return level_rows(model, routing.predict_levels(model, x, batch_size), labels)


def level_rows(model: "Supernet", logits_by_level: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """As ``evaluate_levels``, from the (levels, count, classes) logits of a pass that was made."""
    return [
        {
            "level": k,
            "top1": _percent(_top(logits, labels, 1)),
            "top5": _percent(_top(logits, labels, 5)) if model.num_classes > 5 else None,
            "madds": cost.madds(model, k),
            "params": cost.params(model, k),
        }
        for k, logits in enumerate(logits_by_level)
    ]


def compare(model: "Supernet", predictions: Predictions, temperatures: list[float] | None = None) -> dict[str, Any]:
    """All that compares the policies on labelled images.

    Args:
        model: supernet with a budget table.
        predictions: of the images (``routing.score``).
        temperatures: (levels,) of ``routing.fit_temperatures`` on held-out images; None leaves that policy out.

    Returns:
        {"temperatures": as given, "equal_cost": see ``equal_cost``, "budgets": see ``budgets``}.

    Raises:
        ValueError: no budget table.
    """
    found = equal_cost(model, curves(model, predictions, temperatures))
    return {"temperatures": temperatures, "equal_cost": found, "budgets": budgets(model, predictions)}


def equal_cost(model: "Supernet", found: dict[str, Curve]) -> dict[str, Any]:
    """The curves at equal cost, and what each policy saves at a given loss of accuracy.

    Args:
        model: supernet.
        found: of ``routing.curves``.

    Returns:
        {"shares": percent of the largest level's MAdds, "drops": points below its top-1, "rows": a policy's "top1" at
        each share (None out of its range) and "saved" at each drop: how many times fewer MAdds the cheapest point of
        its curve takes that loses no more, read off on these images for every policy alike (None where there is
        none), "oracle": its "top1" and "share"}. A policy of one point, as the oracle, has no row.

    Example:
        >>> equal_cost(model, curves(model, score(model, images, labels)))["rows"]
    """
    largest, best = _largest(model), found["static"].top1[-1]
    rows = []
    for name, curve in found.items():
        if len(curve.top1) == 1:
            continue
        madds = curve.madds(model)
        at = np.interp(np.array(SHARES) * largest / 100, madds, curve.top1, left=np.nan, right=np.nan)
        cheapest = [_cheapest(madds, curve.top1, best - drop) for drop in DROPS]
        rows.append(
            {
                "policy": name,
                "top1": [None if np.isnan(value) else round(float(value), 2) for value in at],
                "saved": [None if spent is None else round(largest / spent, 2) for spent in cheapest],
            }
        )
    point = [
        round(float(value[0]), 2) for value in (found["oracle"].top1, 100 * found["oracle"].madds(model) / largest)
    ]
    oracle = dict(zip(("top1", "share"), point, strict=True))
    return {"shares": list(SHARES), "drops": list(DROPS), "rows": rows, "oracle": oracle}


def budgets(model: "Supernet", predictions: Predictions, points: int = 10) -> dict[str, Any]:
    """Budgets asked of the default policy, from the cheapest to the largest level's cost, and what it spends on images.

    Args:
        model: supernet with a budget table.
        predictions: of images that the table was not measured on.
        points: budgets, evenly spaced.

    Returns:
        {"policy": "gate" or "cascade" (which stands in for a default of one level), "rows": "asked" and "spent" in
        percent of the largest level's MAdds, "top1" in percent, "mix" the share of images that end at each level}.

    Raises:
        ValueError: no budget table.
    """
    policy = model.default_policy if model.default_policy in adjustable() else Cascade.name
    measured, largest = model.budgets.of(policy), _largest(model)
    if not measured:
        raise ValueError(NO_TABLE)
    rows = []
    for madds in np.linspace(measured[0].madds, min(measured[-1].madds, largest), points):
        settings = model.budgets.settings_at(policy, largest, madds=madds)
        routed = route(model, predictions, policy, settings)
        rows.append(
            {
                "asked": round(100 * float(madds) / largest, 1),
                "spent": round(100 * float(routed.madds.mean()) / largest, 1),
                "top1": round(100 * float((routed.logits.argmax(1) == predictions.labels).mean()), 2),
                "mix": _mix(routed.levels, len(predictions.logits_by_level)),
            }
        )
    return {"policy": policy, "rows": rows}


def _largest(model: "Supernet") -> float:
    return float(routing.routing_spec(model).largest)


def _row(model: "Supernet", name: str, routed: Routed, labels: np.ndarray) -> dict[str, Any]:
    madds = float(routed.madds.mean())
    return {
        "policy": name,
        "top1": _percent(_top(routed.logits, labels, 1)),
        "madds": round(madds),
        "share": round(madds / cost.madds(model, len(model.levels) - 1), 4),
        "mix": _mix(routed.levels, len(model.levels)),
    }


def _mix(levels: np.ndarray, count: int) -> list[float]:
    """Share of the images at each level."""
    return [round(float(m), 4) for m in np.bincount(levels, minlength=count) / len(levels)]


def _top(logits: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    best = logits.argmax(1)[:, None] if k == 1 else np.argsort(-logits, axis=1)[:, :k]
    return (best == labels[:, None]).any(1)


def _percent(right: np.ndarray) -> float:
    return round(100 * float(right.mean()), 2)


def _cheapest(madds: np.ndarray, top1: np.ndarray, floor: float) -> float | None:
    """The least cost at which a curve reaches an accuracy, interpolated."""
    reached = np.flatnonzero(top1 >= floor - 1e-9)
    if not len(reached):
        return None
    i = reached[0]
    return float(madds[0] if i == 0 else np.interp(floor, top1[i - 1 : i + 1], madds[i - 1 : i + 1]))
