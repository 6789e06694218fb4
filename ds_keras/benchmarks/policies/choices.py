"""What the default policy loses and costs on other images than those that chose it: the package's rule, and others.

Example:
    python -m ds_keras.benchmarks.policies.choices --preset=ds_mobilenet_imagenette --data=pack:imagenette2_128_jpeg.npz
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from absl import app, flags

from ds_keras import data, zoo
from ds_keras.core.files import replacing
from ds_keras.policies.base import PolicyName
from ds_keras.policies.budget_table import LEVELS
from ds_keras.routing import budget
from ds_keras.routing.execute import routing_spec
from ds_keras.routing.replay import Predictions, route, score

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

FOLDS = 5
PACKAGE = "the package's"


class Rule(NamedTuple):
    """When a setting is good: where its loss, and so many standard errors of it, are at most the tolerance.

    Args:
        errors: standard errors that count as lost.
        crossed: whether each fifth of the images judges what was fitted to the others, at the same cost.
    """

    errors: int
    crossed: bool = False


RULES = {
    "no error": Rule(0),
    "one error": Rule(1),
    "two errors": Rule(2),
    "three errors": Rule(3),
    "cross-fitted, one error": Rule(1, crossed=True),
    "cross-fitted, two errors": Rule(2, crossed=True),
}


class _Setting(NamedTuple):
    """A row of the budget table: its policy, settings and cost; (lost, gained) answers on the held-out images."""

    madds: float
    policy: PolicyName
    settings: tuple[float, ...]
    same: tuple[int, int]
    crossed: tuple[int, int]


def choices(
    model: "Supernet", predictions: Predictions, count: int, tolerances: Sequence[float], draws: int = 20
) -> list[dict[str, Any]]:
    """Draws held-out images again and again, chooses the default on them, and looks at the other images.

    Args:
        model: supernet; its cascade, budget table and default policy are replaced.
        predictions: of images that it was not trained on.
        count: images of a draw.
        tolerances: see ``routing.choose_policy``.
        draws: how often.

    Returns:
        A row for each tolerance and rule: "images", "tolerance", "rule", and over the draws the mean "cost" (of the
        largest level's), the mean "loss" in points of accuracy below the largest level and that of the "worst" tenth,
        and "over", the share of the draws whose loss is above the tolerance.
    """
    found: dict[tuple[float, str], list[tuple[float, float]]] = {}
    for draw in range(draws):
        order = np.random.default_rng([count, draw]).permutation(len(predictions))
        held_out, others = _subset(predictions, order[:count]), _subset(predictions, order[count:])
        budget.fit_budget(model, held_out)
        settings = _judged(model, held_out)
        for tolerance in tolerances:
            chosen = {name: _cheapest(settings, rule, tolerance * count) for name, rule in RULES.items()}
            budget.choose_policy(model, held_out, tolerance)
            for name, policy in {**chosen, PACKAGE: (model.default_policy, None)}.items():
                found.setdefault((tolerance, name), []).append(_on(model, others, *policy))
    return [_row(count, tolerance, name, np.array(figures)) for (tolerance, name), figures in found.items()]


def _row(count: int, tolerance: float, rule: str, figures: np.ndarray) -> dict[str, Any]:
    costs, losses = figures.T
    worst = np.sort(losses)[-max(1, len(losses) // 10) :]
    means = {"cost": costs.mean(), "loss": losses.mean(), "worst": worst.mean()}
    return {"images": count, "tolerance": 100 * tolerance, "rule": rule, **means, "over": (losses > tolerance).mean()}


def _judged(model: "Supernet", held_out: Predictions) -> list[_Setting]:
    """Every setting of the budget table by rising cost, judged on the images of its fit and cross-fitted."""
    table, chain, largest = model.budgets, model.cascade, routing_spec(model).largest
    part = np.arange(len(held_out)) % FOLDS
    folds = []
    for k in range(FOLDS):
        budget.fit_budget(model, _subset(held_out, part != k), cascade=chain)
        folds.append((_subset(held_out, part == k), model.budgets))
    model.budgets = table
    found = []
    for name, row in ((name, row) for name, rows in table.rows.items() for row in rows):
        policy = budget.row_policy(name, row.settings)
        crossed = np.zeros(2, int)
        for own, fitted in folds:
            there = row.settings if name == LEVELS else fitted.settings_at(name, largest, madds=row.madds)
            crossed += own.traded(route(model, own, policy, there).levels)
        same = held_out.traded(route(model, held_out, policy, row.settings).levels)
        found.append(_Setting(row.madds, policy, row.settings, same, (int(crossed[0]), int(crossed[1]))))
    return sorted(found, key=lambda setting: setting.madds)


def _cheapest(settings: list[_Setting], rule: Rule, allowed: float) -> tuple[PolicyName, Any]:
    """The first good one of the settings, by rising cost; the largest level is always good."""
    for setting in settings:
        lost, gained = setting.crossed if rule.crossed else setting.same
        if lost - gained + rule.errors * np.sqrt(lost + gained) <= allowed:
            break
    return setting.policy, setting.settings


def _on(model: "Supernet", predictions: Predictions, policy: PolicyName, settings: Any) -> tuple[float, float]:
    """A policy's cost by the largest level's, and its accuracy below that level's."""
    routed = route(model, predictions, policy, settings)
    loss = predictions.correct[-1].mean() - predictions.correct_at(routed.levels).mean()
    return float(routed.madds.mean()) / routing_spec(model).largest, float(loss)


def _subset(predictions: Predictions, chosen: np.ndarray) -> Predictions:
    return Predictions(
        predictions.logits_by_level[:, chosen], predictions.gate_logits[chosen], predictions.labels[chosen]
    )


def recorded(model: "Supernet", images: str, part: str, path: str | None) -> Predictions:
    """What every level and the gate say of labelled images.

    Args:
        model: supernet.
        images: see ``ds_keras.data.load``.
        part: of them.
        path: a .npz file that keeps the answer; where it exists, it is read, and no image is.

    Returns:
        The predictions.
    """
    names = ("logits_by_level", "gate_logits", "labels")
    if path and os.path.exists(path):
        with np.load(path) as file:
            return Predictions(*(file[name] for name in names))
    source = data.load(images)[part]
    predictions = score(model, source.images(model.image_shape[:2]), source.labels)
    if path:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **{name: getattr(predictions, name) for name in names})
    return predictions


def main(_: Sequence[str]) -> None:
    """Prints the table."""
    model = zoo.load(FLAGS.preset)
    predictions = recorded(model, FLAGS.data, FLAGS.part, FLAGS.predictions)
    print("| images | tolerance, points | rule | cost | loss, points | worst tenth | above the tolerance |")
    print("|---|---|---|---|---|---|---|")
    for count in map(int, FLAGS.counts):
        for row in choices(model, predictions, count, [float(each) for each in FLAGS.tolerances], FLAGS.draws):
            shown = "| {images} | {tolerance:g} | {rule} | {cost:.2f} | {loss:.2f} | {worst:.2f} | {over:.2f} |"
            print(shown.format(**{**row, "loss": 100 * row["loss"], "worst": 100 * row["worst"]}), flush=True)


if __name__ == "__main__":
    FLAGS = flags.FLAGS
    flags.DEFINE_string("preset", None, "A supernet of the zoo.", required=True)
    flags.DEFINE_string("data", None, "Images (see ds_keras.data.load).", required=True)
    flags.DEFINE_string("part", "test", "The part of them, which the preset was not trained on.")
    flags.DEFINE_string("predictions", None, "A .npz file that keeps what the levels say of them, or holds it already.")
    flags.DEFINE_list("counts", ["100", "200", "500"], "Held-out images of a draw.")
    flags.DEFINE_list("tolerances", ["0.003", "0.01"], "Accuracy that may be lost, in [0, 1].")
    flags.DEFINE_integer("draws", 20, "How often images are drawn.", lower_bound=1)
    app.run(main)
