"""Budgets: what every setting of a policy costs and scores, and the setting that meets an average cost.

The gate's setting is a shift of its logits, the cascade's are thresholds of confidence, one for each level but its
last. They are saved with the model and read at run time, so that a new budget retraces nothing.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.policies.base import PolicyName
from ds_keras.policies.budget_table import LEVELS, NO_TABLE, BudgetRow, BudgetTable, Times
from ds_keras.policies.cascade import check_chain
from ds_keras.policies.cascade_search import LONGEST, search
from ds_keras.policies.gate import Gate
from ds_keras.policies.labels import check_classes
from ds_keras.routing.execute import gate_logits, own_settings, predict_levels, routing_spec
from ds_keras.routing.replay import Predictions, passes, route, score

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def measure_budget(
    model: "Supernet", x: Any, labels: Any, points: int = 41, cascade: tuple[int, ...] | None = None
) -> dict[str, list]:
    """Measures, on held-out images, what every setting of each policy costs and scores.

    Args:
        model: supernet; its ``budget_table`` and its ``cascade`` are replaced.
        x: (count, height, width, channels) images in [0, 255] that neither stage was trained on.
        labels: (count,) integer classes.
        points: settings of each policy: the gate's evenly spaced in cost, the cascade's in the images that go on.
        cascade: two or three levels; default the chain that is best on these images (see ``cascade_search.search``).

    Returns:
        {"gate" | "cascade": [[settings, average MAdds, accuracy in [0, 1], passes], ...] by rising cost,
        "levels": [...]}; the last lists [[level], MAdds, accuracy, passes] of the fixed levels. Passes are how often
        each level's body runs for an image, on average: (levels,).

    Raises:
        ValueError: bad argument.
    """
    check_classes(labels, len(x), model.num_classes)
    _check_request(model, points, cascade)
    return fit_budget(model, score(model, x, labels), points, cascade)


def fit_budget(
    model: "Supernet", predictions: Predictions, points: int = 41, cascade: tuple[int, ...] | None = None
) -> dict[str, list]:
    """As ``measure_budget``, from a pass over the held-out images that was made.

    Args:
        model: as there.
        predictions: of the held-out images.
        points: as there.
        cascade: as there.

    Returns:
        As there.

    Raises:
        ValueError: bad argument.
    """
    _check_request(model, points, cascade)
    spec = routing_spec(model)
    bodies = np.array(spec.bodies, "float64")
    chains = None if cascade is None else [tuple(cascade)]
    path = search(predictions.logits_by_level, predictions.labels, spec.start, bodies, points, chains)
    model.cascade = path.chain
    along = zip(path.thresholds, path.madds, path.accuracy, strict=True)
    accuracies = predictions.correct.mean(1)
    rows = {
        "gate": _gate_rows(model, predictions, points),
        "cascade": [BudgetRow(tuple(t.tolist()), float(madds), float(accuracy)) for t, madds, accuracy in along],
        LEVELS: [BudgetRow((k,), float(spec.start + bodies[k]), float(accuracies[k])) for k in range(len(bodies))],
    }
    table = BudgetTable({name: tuple(sorted(found, key=lambda row: row.madds)) for name, found in rows.items()})
    model.budgets = _with_passes(model, table, predictions)
    return model.budget_table


def _check_request(model: "Supernet", points: int, cascade: tuple[int, ...] | None) -> None:
    if not isinstance(points, int) or points < 2:
        raise ValueError(f"points must be an integer of at least 2, received {points!r}")
    if cascade is not None and len(check_chain(cascade, len(model.levels))) > LONGEST:
        raise ValueError(f"cascade must have at most {LONGEST} levels to be measured, received {cascade!r}")


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
    if not model.budgets.rows:
        raise ValueError(NO_TABLE)
    predictions = Predictions(predict_levels(model, x), gate_logits(model, x), np.zeros(len(x), int))
    model.budgets = _with_passes(model, model.budgets, predictions)
    return model.budget_table


def _gate_rows(model: "Supernet", predictions: Predictions, points: int) -> list[BudgetRow]:
    """The gate's shifts, evenly spaced in cost from the largest level's to the smallest's."""
    spec = routing_spec(model)
    policy, bodies, relative = Gate(spec), np.array(spec.bodies, "float64"), spec.relative

    def row(shift: float) -> BudgetRow:
        levels = policy.scores(predictions.gate_logits, np.array([shift], "float32")).argmax(1)
        accuracy = predictions.correct_at(levels).mean()
        return BudgetRow((float(shift),), float(spec.start + spec.gate + bodies[levels].mean()), float(accuracy))

    steps = np.diff(relative)
    spread = float(np.abs(predictions.gate_logits).max() * 2 + 1) / steps[steps > 0].min(initial=1.0)
    costs = np.linspace(row(spread).madds, row(-spread).madds, points)
    return [row(_bisect(lambda shift: row(shift).madds, cost, spread)) for cost in costs]


def _with_passes(model: "Supernet", table: BudgetTable, predictions: Predictions) -> BudgetTable:
    """The table, each row with its passes: those that it has, else those on these images."""

    def completed(name: str, row: BudgetRow) -> BudgetRow:
        if row.passes is not None:
            return row
        shares = passes(model, predictions, row_policy(name, row.settings), row.settings).mean(0).round(6)
        return replace(row, passes=tuple(shares.tolist()))

    return BudgetTable({name: tuple(completed(name, row) for row in rows) for name, rows in table.rows.items()})


def _bisect(cost: Any, target: float, spread: float) -> float:
    """The shift whose cost is nearest below ``target``; cost falls as the shift rises."""
    low, high = -spread, spread
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(middle) <= target else (middle, high)
    return high


def settings_for(
    model: "Supernet",
    policy: PolicyName,
    fraction: float | None = None,
    madds: float | None = None,
    milliseconds: float | None = None,
    times: Times | None = None,
) -> np.ndarray:
    """The settings that meet an average cost, from the model's budget table.

    Args:
        model: supernet with a budget table.
        policy: "gate" or "cascade".
        fraction: average MAdds as a fraction of the largest level's, at most 1; or
        madds: average MAdds; or
        milliseconds: average time of an image that is run alone, with
        times: of the device's parts.

    Returns:
        (settings,) float32: the gate's shift, or the cascade's thresholds.

    Raises:
        ValueError: see ``BudgetTable.settings_at``.
    """
    largest = routing_spec(model).largest
    return model.budgets.settings_at(policy, largest, fraction, madds, milliseconds, times)


def set_budget(
    model: "Supernet",
    fraction: float | None = None,
    madds: float | None = None,
    policy: PolicyName | None = None,
    milliseconds: float | None = None,
    times: Times | None = None,
) -> None:
    """Sets a policy so that it spends a given average cost. Saved with the weights; nothing retraces.

    Args:
        model: supernet with a budget table.
        fraction: average MAdds as a fraction of the largest level's, at most 1; or
        madds: average MAdds; or
        milliseconds: average time of an image that is run alone on a device; with it
        times: of the parts of the model's bundle there: ``runtime.Session.benchmark()``.
        policy: "gate" or "cascade"; default the model's ``default_policy``.

    Raises:
        ValueError: see ``settings_for``.

    Example:
        >>> model.set_budget(fraction=0.4)
        >>> model.set_budget(milliseconds=0.5, times=session.benchmark())
    """
    policy = model.default_policy if policy is None else policy
    _assign(model, policy, settings_for(model, policy, fraction, madds, milliseconds, times))


def choose_policy(model: "Supernet", predictions: Predictions, tolerance: float = 0.003) -> tuple[PolicyName, float]:
    """Makes the cheapest setting of the budget table that loses little, two standard errors included, the default.

    Of n held-out images let b be those that the largest level has right and a setting wrong, and c the reverse. The
    setting loses (b - c) / n, with a standard error of sqrt(b + c + 1) / n. It is good where loss and two errors are at
    most the tolerance, so few images choose a dearer setting. The largest level itself is always good.

    Args:
        model: supernet with a budget table.
        predictions: of the images that the table was measured on: ``score(model, images, labels)``.
        tolerance: accuracy below the largest level's, in [0, 1]; 1 takes the cheapest setting of all.

    Returns:
        The policy (or level) and its average MAdds.

    Raises:
        ValueError: no budget table, no predictions, or a tolerance that is not in [0, 1].

    Source: ours, after the one-standard-error rule, Breiman et al. 1984, Classification and Regression Trees, section
    3.4.3; the error of a difference of paired yes-or-no results, Agresti and Min 2005, Statistics in Medicine 24.

    Example:
        >>> held_out = score(model, images, labels)
        >>> fit_budget(model, held_out)
        >>> policy, madds = choose_policy(model, held_out)
    """
    if len(model.budgets.of(LEVELS)) != len(model.levels):
        raise ValueError(NO_TABLE)
    if not isinstance(predictions, Predictions):
        raise ValueError(f"predictions must be what ds_keras.routing.score gives, received {predictions!r}")
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance must be in [0, 1], received {tolerance!r}")

    def is_good(policy: PolicyName, settings: tuple[float, ...]) -> bool:
        lost, gained = predictions.traded(route(model, predictions, policy, settings).levels)
        loss = lost - gained + 2 * np.sqrt(lost + gained + 1)  # in images; none loses more than all
        return min(loss, len(predictions)) <= tolerance * len(predictions) or policy == len(model.levels) - 1

    rows = sorted((row.madds, name, row.settings) for name, found in model.budgets.rows.items() for row in found)
    madds, name, settings = next(row for row in rows if is_good(row_policy(*row[1:]), row[2]))
    model.default_policy = row_policy(name, settings)
    if name != LEVELS:
        _assign(model, name, settings)
    return model.default_policy, madds


def row_policy(name: str, settings: tuple[float, ...]) -> PolicyName:
    """The policy of a row of the table: a name, or a fixed level.

    Args:
        name: of the rows that it is one of.
        settings: of the row.

    Returns:
        What ``route`` takes.
    """
    return int(settings[0]) if name == LEVELS else name


def _assign(model: "Supernet", policy: PolicyName, settings: Any) -> None:
    """Sets a policy; a chain shorter than the longest leaves the last thresholds at 0."""
    model.build()
    variable = own_settings(model, policy)
    variable.assign(np.pad(np.asarray(settings, "float32"), (0, variable.shape[0] - len(settings))))
