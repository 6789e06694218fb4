"""Every policy over its whole range of cost, from one pass over labelled images.

What is chosen on what: the gate's shifts, the cascade's levels and thresholds are rows of the model's budget table,
which was measured on held-out images, and so are temperatures; the share of images that a pair sends on needs no
labels. So no curve is fitted to the images that it is measured on.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ds_keras.policies.base import LEARNED, NO_TABLE, Policy, Routed, check_policy, margin
from ds_keras.policies.confidence import CONFIDENCES, fit_temperature, probabilities
from ds_keras.policies.labels import check_classes
from ds_keras.routing import execute as routing

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

POINTS = 41


@dataclass(frozen=True)
class Scored:
    """What every level and the gate say about labelled images: one pass serves every policy.

    Args:
        every: (levels, count, classes) logits.
        gate: (count, levels) logits of the gate, without the budget shift.
        labels: (count,) integer classes.
    """

    every: np.ndarray
    gate: np.ndarray
    labels: np.ndarray

    @functools.cached_property
    def right(self) -> np.ndarray:
        """(levels, count) bool."""
        return self.every.argmax(-1) == self.labels

    @functools.cached_property
    def sure(self) -> np.ndarray:
        """(levels, count) float32: the confidence of a cascade."""
        return margin(self.every)


class Curve(NamedTuple):
    """A policy over its range of cost.

    Args:
        passes: (points, levels) passes of each level's body, on average over the images.
        top1: (points,) percent.
        gate: whether the gate runs too.
    """

    passes: np.ndarray
    top1: np.ndarray
    gate: bool = False

    def madds(self, model: "Supernet") -> np.ndarray:
        """Average multiply-adds of an image: (points,) float64."""
        start, gate, _ = model.costs[0]
        return start + gate * self.gate + self.passes @ _bodies(model)


def score(model: "Supernet", x: Any, labels: Any, batch_size: int = 256) -> Scored:
    """Runs every level and the gate on labelled images.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        ``Scored``.

    Raises:
        ValueError: see ``check_classes``.
    """
    labels = check_classes(labels, len(x), model.num_classes)
    return Scored(routing.predict_levels(model, x, batch_size), routing.gate_logits(model, x, batch_size), labels)


def fit_temperatures(scored: Scored) -> list[float]:
    """The temperature of every level, from held-out images: (levels,), rounded."""
    return [round(fit_temperature(logits, scored.labels), 4) for logits in scored.every]


def route(model: "Supernet", scored: Scored, policy: Policy | None = None, knobs: Any = None) -> Routed:
    """What ``routing.predict_routed`` gives, without running the network again.

    Args:
        model: supernet.
        scored: of the images.
        policy: "gate", "cascade", "oracle" or a level; default the model's ``default_policy``.
        knobs: (1,) the gate's shift, or (steps,) the cascade's thresholds; default the model's own.

    Returns:
        ``Routed`` of numpy arrays.

    Raises:
        ValueError: unknown policy.
    """
    policy = model.default_policy if policy is None else policy
    levels, passes = _levels(model, scored, policy, knobs)
    start, gate, _ = model.costs[0]
    madds = start + gate * (policy == "gate") + passes @ _bodies(model)
    return Routed(scored.every[levels, np.arange(len(levels))], levels.astype("int32"), madds.astype("float32"))


def passes(model: "Supernet", scored: Scored, policy: Policy | None = None, knobs: Any = None) -> np.ndarray:
    """Which bodies run for each image: (count, levels), 1 where one does. Arguments as ``route``."""
    return _levels(model, scored, model.default_policy if policy is None else policy, knobs)[1]


def curves(model: "Supernet", scored: Scored, temperatures: list[float] | None = None) -> dict[str, Curve]:
    """Every policy's curve.

    Args:
        model: supernet with a budget table.
        scored: of the images to measure on.
        temperatures: (levels,) fitted on held-out images; None leaves "pair, temperature" out.

    Returns:
        {policy: ``Curve`` by rising cost}; the keys of ``policies.ABOUT``. The oracle is one point.

    Raises:
        ValueError: no budget table.

    Example:
        >>> found = curves(model, score(model, images, labels))
        >>> found["cascade"].madds(model), found["cascade"].top1
    """
    if not all(model.budget_table.get(name) for name in LEARNED):
        raise ValueError(NO_TABLE)
    last, count = len(scored.every) - 1, len(scored.labels)
    fixed, level = 100 * scored.right.mean(1), np.eye(last + 1)
    found = {"static": Curve(level, fixed), "random": Curve(level[[0, last]], fixed[[0, last]])}
    for policy in LEARNED:
        points = [_point(scored, *_levels(model, scored, policy, row[0])) for row in model.budget_table[policy]]
        passes, top1 = (np.array(column) for column in zip(*points, strict=True))
        found[policy] = Curve(passes, top1, gate=policy == "gate")
    sure = {name: confidence(scored.every[0]) for name, confidence in CONFIDENCES.items()}
    if temperatures is not None:
        sure["temperature"] = probabilities(scored.every[0], temperatures[0]).max(-1)
    shares = np.round(np.linspace(0, count, POINTS)).astype(int)
    for name in ("probability", "temperature", "margin", "entropy"):
        if name in sure:
            gained = (scored.right[last].astype(int) - scored.right[0])[np.argsort(sure[name], kind="stable")]
            top1 = fixed[0] + 100 * np.concatenate([[0], np.cumsum(gained)])[shares] / count
            found[f"pair, {name}"] = Curve(level[0] + (shares / count)[:, None] * level[last], top1)
    passes, top1 = _point(scored, *_levels(model, scored, "oracle"))
    return {**found, "oracle": Curve(passes[None], np.array([top1]))}


def _bodies(model: "Supernet") -> np.ndarray:
    return np.array([part.body for part in model.costs], "float64")


def _levels(model: "Supernet", scored: Scored, policy: Policy, knobs: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """(count,) the level that answers, and (count, levels) the bodies that run before and with it."""
    total, count = scored.every.shape[:2]
    policy = check_policy(policy, total, (*LEARNED, "oracle"))
    if policy == "cascade":
        thresholds = np.asarray(model.cascade_thresholds if knobs is None else knobs)
        levels, going = np.full(count, model.cascade[0]), np.ones(count, bool)
        passes = np.zeros((count, total))
        for step, level in enumerate(model.cascade):
            levels[going], passes[going, level] = level, 1
            if level != model.cascade[-1]:
                going = going & (scored.sure[level] < thresholds[step])
        return levels, passes
    if policy == "gate":
        shift = np.asarray(model.gate_shift if knobs is None else knobs, "float32")
        levels = (scored.gate - shift * routing.relative_costs(model)).argmax(1)
    elif policy == "oracle":
        levels = routing.oracle_levels(scored.every, scored.labels)
    else:
        levels = np.full(count, policy)
    return levels, np.eye(total)[levels]


def _point(scored: Scored, levels: np.ndarray, passes: np.ndarray) -> tuple[np.ndarray, float]:
    """Average passes and top-1 %."""
    return passes.mean(0), 100 * float(scored.right[levels, np.arange(len(levels))].mean())
