"""What gate and cascade are worth over their whole curves, for comparisons over seeds: cross-fitted, in one number."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras import evaluation
from ds_keras.policies.registry import adjustable
from ds_keras.routing import budget
from ds_keras.routing import replay as curves

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

POINTS = 200  # of the grid over the cost
VALUES = ("area", "saved", "auc")


def cross_fitted(model: "Supernet", x: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """The policies' curves on each half of labelled images, their settings and chain chosen on the other half.

    Args:
        model: supernet; its budget table and cascade are put back afterwards.
        x: (count, height, width, channels) images in [0, 255] that no stage was trained on.
        labels: (count,) integer classes.

    Returns:
        For each half {"curves": {"static" | "gate" | "cascade": [MAdds, top-1 %] by rising cost}, "saved": {policy: how
        many times fewer MAdds than the largest level at 0.3 points less than it}, "auc": {policy: chance that an image
        which the smallest level classifies right gets the higher confidence than one which it does not, None without
        both kinds}}.
    """
    before = model.cascade, model.budgets
    found = []
    for half in (0, 1):
        chosen, judged = np.arange(len(x)) % 2 != half, np.arange(len(x)) % 2 == half
        budget.measure_budget(model, x[chosen], labels[chosen])
        predictions = curves.score(model, x[judged], labels[judged])
        drawn = curves.curves(model, predictions)
        rows = {row["policy"]: row for row in evaluation.equal_cost(model, drawn)["rows"]}
        names, gate = ("static", *adjustable()), predictions.gate_logits
        scores = {"gate": gate[:, 0] - gate[:, -1], "cascade": predictions.confidence[0]}
        auc = {name: _auc(score, predictions.correct[0]) for name, score in scores.items()}
        found.append(
            {
                "curves": {name: [drawn[name].madds(model).tolist(), drawn[name].top1.tolist()] for name in names},
                "saved": {name: rows[name]["saved"][0] for name in names},
                "auc": {**dict.fromkeys(names), **auc},
            }
        )
    model.cascade, model.budgets = before
    return found


def policy_rows(runs: dict[str, list[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Compares the variants' policies.

    Args:
        runs: for each variant, of every seed, what ``cross_fitted`` gave; the first variant is compared with.

    Returns:
        A row for each variant and policy: "variant", "policy", and under "area" (average top-1 % over all costs that
        every variant's levels reach, from the dearest smallest level to the cheapest largest one), "saved" and "auc"
        (see ``cross_fitted``) the "values" of every seed with "mean", "sd", "difference" and "difference_sd".
    """
    folds = [fold for seeds in runs.values() for seed in seeds for fold in seed]
    ends = [fold["curves"]["static"][0] for fold in folds]
    grid = np.linspace(max(costs[0] for costs in ends), min(costs[-1] for costs in ends), POINTS)
    values = {name: [_values(seed, grid) for seed in seeds] for name, seeds in runs.items()}
    first = next(iter(runs))
    rows = []
    for name in runs:
        for policy in ("static", *adjustable()):
            row: dict[str, Any] = {"variant": name, "policy": policy}
            for value in VALUES:
                own, base = ([seed[policy][value] for seed in values[k]] for k in (name, first))
                row[value] = {"values": own, **paired(own, base)}
            rows.append(row)
    return rows


def paired(values: Sequence[float | None], first: Sequence[float | None] | None) -> dict[str, float | None]:
    """Mean and deviation over seeds, of the values and of their differences to the first variant's.

    Args:
        values: of every seed; None where there is none.
        first: likewise, of the first variant; None where there is nothing to compare with.

    Returns:
        {"mean", "sd", "difference", "difference_sd"}, rounded; None where a value is missing, sd None for one seed.
    """
    found: dict[str, Any] = dict.fromkeys(("mean", "sd", "difference", "difference_sd"))
    if None not in values:
        own = np.array(values, float)
        found |= {"mean": own.mean(), "sd": _sd(own)}
        if first is not None and None not in first:
            difference = own - np.array(first, float)
            found |= {"difference": difference.mean(), "difference_sd": _sd(difference)}
    return {key: None if value is None else round(float(value), 2) for key, value in found.items()}


def _values(folds: list[dict[str, Any]], grid: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Area, saving and AUC of every policy, averaged over both halves."""
    found = {}
    for policy in folds[0]["curves"]:
        areas = [_area(fold["curves"][policy], fold["curves"]["static"][1][0], grid) for fold in folds]
        values = {"area": areas, **{value: [fold[value][policy] for fold in folds] for value in ("saved", "auc")}}
        found[policy] = {
            name: None if None in numbers else round(float(np.mean(numbers)), 3) for name, numbers in values.items()
        }
    return found


def _area(curve: list[list[float]], smallest: float, grid: np.ndarray) -> float:
    """Average top-1 of a curve; what costs less than its first point, the smallest level does."""
    order = np.argsort(curve[0], kind="stable")
    madds, top1 = np.array(curve)[:, order]
    return float(np.interp(grid, madds, top1, left=smallest).mean())


def _auc(score: np.ndarray, right: np.ndarray) -> float | None:
    """Chance that a right image scores higher than a wrong one, ties counting half."""
    wrong, good = np.sort(score[~right]), score[right]
    if not len(wrong) or not len(good):
        return None
    below = np.searchsorted(wrong, good, "left") + np.searchsorted(wrong, good, "right")
    return float(below.mean() / 2 / len(wrong))


def _sd(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
