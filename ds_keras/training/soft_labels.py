"""A teacher's predictions, made once for a stream of views that begins anew after some epochs.

Batches are pure functions of their step, so a stream of ``period`` steps can be repeated, and what a teacher says to
its views is a table that costs no training step anything (arXiv 2106.05237: a patient teacher sees what the student
sees). The teacher may look at the views at another size.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from ds_keras.core.visitor import Compute
from ds_keras.models.supernet import Supernet

CHUNK = 64  # steps between two saves of an unfinished table


def soft_labels(
    teacher: Supernet, batches: Any, period: int, path: str | os.PathLike, image_size: Any = None
) -> np.ndarray:
    """The largest level's predictions for every view of a repeated stream; goes on where a killed run stopped.

    Args:
        teacher: supernet of the stream's classes.
        batches: f(first, last) -> dataset of the batches (images in [0, 255], labels) of steps [first, last).
        period: steps until the stream begins anew.
        path: of the .npz file that keeps the table.
        image_size: (height, width) at which the teacher sees the views; default their own.

    Returns:
        (period, batch, classes) float16 probabilities.

    Raises:
        ValueError: the file holds a table of another shape.

    Example:
        >>> table = soft_labels(teacher, batches, 200, "labels.npz", (160, 160))
    """
    path = Path(path)
    done = np.load(path)["labels"] if path.is_file() else None
    if done is not None and (done.ndim != 3 or len(done) > period or done.shape[2] != teacher.num_classes):
        raise ValueError(f"{path} must hold at most {period} steps of {teacher.num_classes} classes, got {done.shape}")

    @tf.function(autograph=False, reduce_retracing=True)
    def predict(x: tf.Tensor) -> tf.Tensor:
        x = x if image_size is None else tf.image.resize(x, image_size)
        logits = teacher.logits(Compute(teacher.levels[-1].index), teacher.check_images(x))  # a call takes one size
        return tf.nn.softmax(tf.cast(logits, tf.float32))

    while done is None or len(done) < period:
        first = 0 if done is None else len(done)
        last = min(first + CHUNK, period)
        new = np.stack([predict(x).numpy().astype("float16") for x, _ in batches(first, last)])
        done = new if done is None else np.concatenate([done, new])
        part = path.with_suffix(".part.npz")
        np.savez(part, labels=done)
        os.replace(part, path)
        logging.info("soft labels: step %d of %d", last, period)
    return done


def repeated(batches: Any, table: np.ndarray, label_weight: float) -> Any:
    """Batches of a stream that begins anew after ``len(table)`` steps, with soft labels.

    Args:
        batches: see ``soft_labels``; integer labels.
        table: what ``soft_labels`` gave.
        label_weight: share of the labels in the targets, in [0, 1].

    Returns:
        f(first, last, context=None) -> dataset of (images, (batch, classes) float32 targets).
    """
    period, classes = len(table), table.shape[2]

    def soften(batch: tuple, soft: tf.Tensor) -> tuple:
        images, labels = batch
        return images, label_weight * tf.one_hot(labels, classes) + (1 - label_weight) * tf.cast(soft, tf.float32)

    def of(first: int, last: int, context: None = None) -> tf.data.Dataset:
        whole = None
        while first < last:
            start = first % period
            stop = min(start + last - first, period)
            soft = tf.data.Dataset.from_tensor_slices(table[start:stop])
            part = tf.data.Dataset.zip(batches(start, stop), soft).map(soften)
            whole = part if whole is None else whole.concatenate(part)
            first += stop - start
        return whole

    return of
