"""Every policy over its whole range of cost, from one pass over labelled images.

No curve is fitted to the images that it is measured on. The gate's shifts and the cascade's levels and thresholds are
rows of the model's budget table, which was measured on held-out images. Temperatures are fitted on held-out images
too. A pair is swept over the share of images that it sends on, which needs no labels.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ds_keras import moved
from ds_keras.policies.base import GatePolicy, Policy, PolicyName, Routed, SequentialPolicy
from ds_keras.policies.budget_table import NO_TABLE, Times
from ds_keras.policies.confidence import CONFIDENCES, fit_temperature, margin, probabilities
from ds_keras.policies.labels import check_classes
from ds_keras.policies.registry import adjustable, check_policy, find, names, policy_class
from ds_keras.routing import execute as routing

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

POINTS = 41


@dataclass(frozen=True)
class Predictions:
    """What every level and the gate say about labelled images: one pass serves every policy.

    Args:
        logits_by_level: (levels, count, classes) logits.
        gate_logits: (count, levels) logits of the gate, without the budget shift.
        labels: (count,) integer classes.
    """

    logits_by_level: np.ndarray
    gate_logits: np.ndarray
    labels: np.ndarray

    every = moved.alias("Predictions.every", "logits_by_level")
    gate = moved.alias("Predictions.gate", "gate_logits")
    right = moved.alias("Predictions.right", "correct")
    sure = moved.alias("Predictions.sure", "confidence")

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def correct(self) -> np.ndarray:
        """(levels, count) bool."""
        return self.logits_by_level.argmax(-1) == self.labels

    def correct_at(self, levels: np.ndarray) -> np.ndarray:
        """Which images are right at a level for each, (count,): (count,) bool."""
        return self.correct[levels, np.arange(len(self))]

    def traded(self, levels: np.ndarray) -> tuple[int, int]:
        """Images that only the largest level has right, and those that are right only at a level for each, (count,)."""
        largest, chosen = self.correct[-1], self.correct_at(levels)
        return int((largest & ~chosen).sum()), int((chosen & ~largest).sum())

    @functools.cached_property
    def confidence(self) -> np.ndarray:
        """(levels, count) float32: the margin, by which a cascade decides."""
        return margin(self.logits_by_level)


class Curve(NamedTuple):
    """A policy over its range of cost.

    Args:
        passes: (points, levels) passes of each level's body, on average over the images.
        top1: (points,) percent.
        gate: whether the gate runs too.
        judges: whether a confidence is computed after each pass.
    """

    passes: np.ndarray
    top1: np.ndarray
    gate: bool = False
    judges: bool = False

    def madds(self, model: "Supernet") -> np.ndarray:
        """Average multiply-adds of an image: (points,) float64."""
        spec = routing.routing_spec(model)
        return spec.start + spec.gate * self.gate + self.passes @ np.array(spec.bodies, "float64")

    def milliseconds(self, times: Times) -> np.ndarray:
        """Average milliseconds of an image on a device: (points,) float64."""
        return times.total(self.passes, self.gate, self.judges)


class _Chosen(NamedTuple):
    """(count,) the level that answers, and (count, levels) the bodies that run before and with it."""

    levels: np.ndarray
    passes: np.ndarray


class _Recorded:
    """Replays policies on recorded logits: an ``Executor`` that runs no network."""

    def at(self, images: Predictions, levels: Any) -> _Chosen:
        """See ``Executor``."""
        levels = np.broadcast_to(levels, len(images))
        return _Chosen(levels, np.eye(len(images.logits_by_level))[levels])

    def by_gate(self, images: Predictions, policy: GatePolicy, settings: Any) -> _Chosen:
        """See ``Executor``."""
        return self.at(images, policy.scores(images.gate_logits, settings).argmax(1))

    def in_turn(self, images: Predictions, policy: SequentialPolicy, settings: Any) -> _Chosen:
        """See ``Executor``."""
        levels, going = np.full(len(images), policy.order[0]), np.ones(len(images), bool)
        passes = np.zeros((len(images), len(images.logits_by_level)))
        for step, level in enumerate(policy.order):
            levels[going], passes[going, level] = level, 1
            if step + 1 < len(policy.order):
                going = going & policy.continues(images.confidence[level], step, settings)
        return _Chosen(levels, passes)


def score(model: "Supernet", x: Any, labels: Any, batch_size: int = 256) -> Predictions:
    """Runs every level and the gate on labelled images.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        ``Predictions``.

    Raises:
        ValueError: see ``check_classes``.
    """
    labels = check_classes(labels, len(x), model.num_classes)
    return Predictions(routing.predict_levels(model, x, batch_size), routing.gate_logits(model, x, batch_size), labels)


def fit_temperatures(predictions: Predictions) -> list[float]:
    """The temperature of every level, from held-out images: (levels,), rounded."""
    return [round(fit_temperature(logits, predictions.labels), 4) for logits in predictions.logits_by_level]


@moved.renamed(knobs="settings")
def route(
    model: "Supernet",
    predictions: Predictions,
    policy: PolicyName | None = None,
    settings: Any = None,
    mix: Any = None,
    seed: int | None = None,
) -> Routed:
    """What ``routing.predict_routed`` gives, without running the network again.

    Args:
        model: supernet.
        predictions: of the images.
        policy: "gate", "cascade", "random", "oracle" or a level; default the model's ``default_policy``.
        settings: (1,) the gate's shift, or (steps,) the cascade's thresholds; default the model's own.
        mix: (levels,) probabilities, for "random"; default equal.
        seed: of "random".

    Returns:
        ``Routed`` of numpy arrays.

    Raises:
        ValueError: unknown policy, or an argument that the policy needs or cannot use.
    """
    found = _find(model, predictions, policy, mix, seed)
    levels, passes = _replay(model, predictions, found, settings)
    logits = predictions.logits_by_level[levels, np.arange(len(levels))]
    return Routed(logits, levels.astype("int32"), found.madds(passes).astype("float32"))


@moved.renamed(knobs="settings")
def passes(
    model: "Supernet",
    predictions: Predictions,
    policy: PolicyName | None = None,
    settings: Any = None,
    mix: Any = None,
    seed: int | None = None,
) -> np.ndarray:
    """Which bodies run for each image: (count, levels), 1 where one does. Arguments as ``route``."""
    return _replay(model, predictions, _find(model, predictions, policy, mix, seed), settings).passes


def curves(model: "Supernet", predictions: Predictions, temperatures: list[float] | None = None) -> dict[str, Curve]:
    """Every policy's curve.

    Args:
        model: supernet with a budget table.
        predictions: of the images to measure on.
        temperatures: (levels,) fitted on held-out images; None leaves "pair, temperature" out.

    Returns:
        {policy: ``Curve`` by rising cost}; the keys of ``registry.ABOUT``. The oracle is one point.

    Raises:
        ValueError: no budget table.

    Example:
        >>> found = curves(model, score(model, images, labels))
        >>> found["cascade"].madds(model), found["cascade"].top1
    """
    if not all(model.budgets.of(name) for name in adjustable()):
        raise ValueError(NO_TABLE)
    last = len(predictions.logits_by_level) - 1
    fixed, level = 100 * predictions.correct.mean(1), np.eye(last + 1)
    found = {"static": Curve(level, fixed), "random": Curve(level[[0, last]], fixed[[0, last]])}
    for name in adjustable():
        policy = _find(model, predictions, name)
        points = [_point(model, predictions, policy, row.settings) for row in model.budgets.of(name)]
        passes, top1 = (np.array(column) for column in zip(*points, strict=True))
        found[name] = Curve(passes, top1, policy.runs_gate, policy.judges)
    found |= _pairs(predictions, temperatures)
    bound, best = _point(model, predictions, _find(model, predictions, "oracle"))
    return {**found, "oracle": Curve(bound[None], np.array([best]))}


def _pairs(predictions: Predictions, temperatures: list[float] | None) -> dict[str, Curve]:
    """Cascades of the smallest and the largest level, by several confidences, each over all shares that go on."""
    first, last, count = predictions.logits_by_level[0], len(predictions.logits_by_level) - 1, len(predictions)
    confidences = {name: confidence(first) for name, confidence in CONFIDENCES.items()}
    if temperatures is not None:
        confidences["temperature"] = probabilities(first, temperatures[0]).max(-1)
    shares = np.round(np.linspace(0, count, POINTS)).astype(int)
    level, start, found = np.eye(last + 1), 100 * predictions.correct.mean(1)[0], {}
    for name in ("probability", "temperature", "margin", "entropy"):
        if name in confidences:
            order = np.argsort(confidences[name], kind="stable")
            gained = (predictions.correct[last].astype(int) - predictions.correct[0])[order]
            top1 = start + 100 * np.concatenate([[0], np.cumsum(gained)])[shares] / count
            passes = level[0] + (shares / count)[:, None] * level[last]
            found[f"pair, {name}"] = Curve(passes, top1, judges=True)
    return found


def _find(
    model: "Supernet", predictions: Predictions, policy: PolicyName | None, mix: Any = None, seed: int | None = None
) -> Policy:
    """A policy's object; the labels are those of the predictions."""
    count = len(predictions.logits_by_level)
    policy = check_policy(model.default_policy if policy is None else policy, count, names())
    labels = predictions.labels if "labels" in policy_class(policy).needs else None
    return find(policy, routing.routing_spec(model), mix=mix, seed=seed, labels=labels)


def _replay(model: "Supernet", predictions: Predictions, policy: Policy, settings: Any = None) -> _Chosen:
    executor = _Recorded()
    levels = policy.assign(len(predictions), lambda: predictions.logits_by_level)
    if levels is not None:
        return executor.at(predictions, levels)
    settings = routing.own_settings(model, policy.key) if settings is None else settings
    return policy.run(executor, predictions, None if settings is None else np.asarray(settings, "float32"))


def _point(
    model: "Supernet", predictions: Predictions, policy: Policy, settings: Any = None
) -> tuple[np.ndarray, float]:
    """Average passes and top-1 %."""
    levels, passes = _replay(model, predictions, policy, settings)
    return passes.mean(0), 100 * float(predictions.correct_at(levels).mean())
