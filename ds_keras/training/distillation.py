"""What the passes of a Stage I step learn from: labels, a moving average of the supernet, another network."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ds_keras import zoo
from ds_keras.models.supernet import Supernet
from ds_keras.training.folded import Folded


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
    if isinstance(teacher, str | os.PathLike):
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
    """What the passes of a step learn, see ``SupernetTrainer``.

    Args:
        objective: of Stage I.
        teacher: another network, or a moving average of this one; None where the labels teach, or this step's own
            largest output.
        teacher_level: level at which the teacher predicts.
        hard_label_weight: share of the labels in a soft target.
        distill_start: steps before which all passes learn the labels.
    """

    objective: str
    teacher: Supernet | None
    teacher_level: int
    hard_label_weight: float
    distill_start: int

    @property
    def teaches_largest(self) -> bool:
        """Whether the largest pass has a soft target too, and not just the labels."""
        return self.objective in ("mvco", "distill")

    def of_teacher(self, views: list[tf.Tensor], truth: tf.Tensor, step: Any) -> tf.Tensor:
        """The teacher's mean prediction over the views, mixed with the labels; without a teacher the labels.

        Args:
            views: images of each view, (batch, height, width, channels).
            truth: (batch, classes) labels, smoothed.
            step: that this is, from 0.

        Returns:
            (batch, classes) float32.
        """
        teacher = self.teacher
        if teacher is None:
            return truth
        return self._mixed(truth, lambda: _predictions(teacher, self.teacher_level, views), step)

    def of_largest(self, logits: tf.Tensor, truth: tf.Tensor, step: Any) -> tf.Tensor:
        """The prediction of this step's largest pass, mixed with the labels.

        Args:
            logits: (batch, classes) of that pass; no gradient flows into them.
            truth: (batch, classes) labels, smoothed.
            step: that this is, from 0.

        Returns:
            (batch, classes) float32.
        """
        return self._mixed(truth, lambda: _probabilities(tf.stop_gradient(logits)), step)

    def _mixed(self, truth: tf.Tensor, soft: Callable[[], tf.Tensor], step: Any) -> tf.Tensor:
        """The labels before ``distill_start``; then the soft targets with ``hard_label_weight`` of the labels."""
        weight = self.hard_label_weight
        if not self.distill_start:
            return weight * truth + (1 - weight) * soft()
        started = tf.cast(step, tf.int64) >= self.distill_start
        return tf.cond(started, lambda: weight * truth + (1 - weight) * soft(), lambda: truth)


def _predictions(teacher: Supernet, level: int, views: list[tf.Tensor]) -> tf.Tensor:
    """A teacher's mean prediction over the views, in inference mode with its own statistics."""
    each = tf.split(_probabilities(teacher.logits(Folded(level), tf.concat(views, axis=0))), len(views))
    return tf.stop_gradient(tf.add_n(each) / len(each))


def _probabilities(logits: tf.Tensor) -> tf.Tensor:
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
