"""What the passes of a Stage I step learn from: labels, a moving average of the supernet, another network."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ds_keras import zoo
from ds_keras.core.levels import Level, LevelTensor
from ds_keras.core.visitor import Compute
from ds_keras.models.supernet import Supernet

TEACHERS = ("largest", "next")  # levels of the moving average, where no other network teaches


def trained_teacher(teacher: Any, model: Supernet) -> Supernet:
    """The teacher of "distill": a supernet that takes the model's images and knows its classes.

    Args:
        teacher: a supernet, or the name or the directory of a preset.
        model: that learns from it.

    Returns:
        The teacher.

    Raises:
        ValueError: something else, or a network of other images or classes.
    """
    if isinstance(teacher, str | os.PathLike) and teacher not in TEACHERS:
        teacher = zoo.load(teacher)
    if not isinstance(teacher, Supernet):
        raise ValueError(
            f"teacher must be a trained supernet or a preset for objective='distill', received {teacher!r}"
        )
    for name in ("num_classes", "image_shape"):
        ours, theirs = getattr(model, name), getattr(teacher, name)
        if ours != theirs:
            raise ValueError(f"teacher must have the model's {name}, {ours}, received one with {theirs}")
    if None not in (model.labels, teacher.labels) and model.labels != teacher.labels:
        raise ValueError(f"teacher must have the model's labels, {model.labels}, received one with {teacher.labels}")
    return teacher


@dataclass(frozen=True)
class Targets:
    """The target distribution of every pass, see ``SupernetTrainer``.

    Args:
        objective: of Stage I.
        teacher: None where nothing but the labels, or this step's own outputs, teach.
        teacher_at: its level, "largest" or "next".
        ensemble: the smallest matches the mean of the teacher's largest and random outputs.
        hard_label_weight: share of the labels in a soft target.
        distill_start: steps before which all learn the labels.
    """

    objective: str
    teacher: Supernet | None
    teacher_at: str
    ensemble: bool
    hard_label_weight: float
    distill_start: int

    def __call__(self, views: list[tf.Tensor], truth: tf.Tensor, levels: list[Level], step: Any) -> list[tf.Tensor]:
        """Targets as far as they do not depend on this step's outputs.

        Args:
            views: images of each view, (batch, height, width, channels).
            truth: (batch, classes) labels, smoothed.
            levels: of the passes, the largest first.
            step: that this is, from 0.

        Returns:
            (batch, classes) float32 for each pass.
        """
        if self.teacher is None:
            return [truth] * len(levels)

        def of(among: list[Level]) -> tf.Tensor:
            return self.blend(truth, lambda: self._predictions(views, among), step)

        if self.objective == "distill":
            return [of([self.teacher.levels[-1].index])] * len(levels)
        largest = of(levels[:1])
        rest = [largest] * (len(levels) - 1)
        if self.teacher_at == "next":
            rest[1:] = [of([level]) for level in levels[1:-1]]
        if self.ensemble:
            rest[-1] = of(levels[:-1])
        return [largest if self.objective == "mvco" else truth, *rest]

    def blend(self, truth: tf.Tensor, soft: Callable[[], tf.Tensor], step: Any) -> tf.Tensor:
        """The labels before ``distill_start``; then the soft targets with ``hard_label_weight`` of the labels."""
        weight = self.hard_label_weight
        if not self.distill_start:
            return weight * truth + (1 - weight) * soft()
        started = tf.cast(step, tf.int64) >= self.distill_start
        return tf.cond(started, lambda: weight * truth + (1 - weight) * soft(), lambda: truth)

    def _predictions(self, views: list[tf.Tensor], levels: list[Level]) -> tf.Tensor:
        """Mean prediction of the teacher at ``levels``, in inference mode with its own statistics."""
        # This may run inside a branch, whose tensors must not be remembered outside it: a LevelTensor of its own.
        levels = [k.copy() if isinstance(k, LevelTensor) else k for k in levels]
        x = tf.concat(views, axis=0)
        each = [probabilities(self.teacher.logits(Compute(k), x)) for k in levels]
        each = [part for prediction in each for part in tf.split(prediction, len(views))]
        return tf.stop_gradient(tf.add_n(each) / len(each))


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Softmax in float32, whatever the precision of the logits."""
    return tf.nn.softmax(tf.cast(logits, tf.float32))


def follow(teacher: Supernet, supernet: Supernet, ema_decay: float, step: Any) -> None:
    """Moves a teacher, its BatchNorm statistics included, towards the supernet.

    Args:
        teacher: moved.
        supernet: that it is an average of.
        ema_decay: of the average, warmed up as min(ema_decay, (1 + step) / (10 + step)).
        step: that this is, from 0.
    """
    step = tf.cast(step, tf.float32)
    decay = tf.minimum(ema_decay, (1 + step) / (10 + step))
    for slow, fast in zip(teacher.weights, supernet.weights, strict=True):
        slow.assign_add((fast - slow) * (1 - decay))
