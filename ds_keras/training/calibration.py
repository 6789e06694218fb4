"""Re-estimates the BatchNorm statistics of every level after Stage I."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.timing import counted
from ds_keras.core.visitor import Compute
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.quantization.rounding import FakeQuantized, check_quantize
from ds_keras.routing.graph import BatchGraph

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


class _Moments(Compute):
    """Normalises with the batch's own statistics, and hands them out instead of storing them."""

    level: int

    def __init__(self, level: int):
        super().__init__(level)
        self.layers: list[SliceableBatchNormalization] = []
        self.moments: list[tuple[tf.Tensor, tf.Tensor]] = []

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        if not isinstance(layer, SliceableBatchNormalization) or not layer.trainable:
            return super().apply(layer, x)
        y, mean, variance = layer.normalize_batch(x)
        self.layers.append(layer)
        self.moments.append((mean, variance))
        return y


class _RoundedMoments(FakeQuantized, _Moments):
    """The statistics of a network whose kernels and activations are rounded to int8."""


def calibrate_batch_norm(
    model: "Supernet",
    dataset: Iterable,
    levels: Sequence[Any] | None = None,
    quantize: str | None = None,
    start: bool = True,
    total: Callable[[np.ndarray], np.ndarray] | None = None,
) -> int:
    """Replaces every level's moving mean and variance by the statistics of ``dataset``.

    Each batch is normalised by its own statistics on the way, as in training; mean and variance are pooled over the
    images of all batches in float64. About 40 batches of 500 images suffice. Weights are not touched, and a frozen
    BatchNorm (``trainable`` is False) keeps its statistics, with which it was trained.

    Args:
        model: supernet.
        dataset: batches of images, or of (images, labels); iterated once for each level.
        levels: levels to calibrate; default all, the teacher's included.
        quantize: "int8": statistics of the network that rounds as an int8 file does, after training for it.
        start: False leaves the shared start's statistics as they are, for one that was not trained.
        total: f(array) -> the sum of it over all workers, where each has batches of its own; default there is one.

    Returns:
        Number of batches used for each level, by this worker.

    Raises:
        ValueError: the dataset is empty, or is an iterator that runs once only.

    Source: DS-Net, arXiv 2103.13258, section 3.3 (statistics re-estimated after Stage I); universally slimmable
    networks, arXiv 1903.05134.

    Example:
        >>> calibrate_batch_norm(model, dataset.take(40))
    """
    if iter(dataset) is dataset:
        raise ValueError("dataset must be iterable again for each level, received an iterator that runs once only")
    model.build()
    kind = _RoundedMoments if check_quantize(model, quantize) is FakeQuantized else _Moments
    if levels is None:
        levels = [*model.levels, *([model.teacher_level] if model.teacher_level not in model.levels else [])]
    used = 0
    for level in levels:
        visitor = kind(model.static_level(level))
        pooled, used = _pooled(model, visitor, dataset, start, total)
        for layer, (mean, variance) in zip(visitor.layers, pooled, strict=True):
            layer.set_statistics(visitor.level, mean, variance)
    return used


def _pooled(
    model: "Supernet",
    visitor: _Moments,
    dataset: Iterable,
    start: bool,
    total_of: Callable[[np.ndarray], np.ndarray] | None,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """Mean and variance over all images for each norm that the level uses, and the number of batches."""
    step = BatchGraph(lambda x: _moments(model, visitor, x, start))
    sums: list[list[np.ndarray]] = []
    used, images = 0, 0.0
    for batch in counted(dataset, f"{model.name}: BatchNorm statistics of level {visitor.level}"):
        x = model.check_images(batch[0] if isinstance(batch, tuple | list) else batch)
        count = int(tf.shape(x)[0])  # the last batch may be a small one
        moments = [(np.asarray(m, "float64"), np.asarray(v, "float64")) for m, v in step(x)]
        sums = sums or [[np.zeros_like(m), np.zeros_like(m)] for m, _ in moments]
        for total, (mean, variance) in zip(sums, moments, strict=True):
            total[0] += count * mean
            total[1] += count * (variance + mean**2)
        used, images = used + 1, images + count
    if not used:
        raise ValueError("dataset must hold at least one batch, received none")
    if total_of is not None:
        flat = total_of(np.concatenate([[images], *(part for pair in sums for part in pair)]))
        images, ends = flat[0], np.cumsum([len(part) for pair in sums for part in pair])
        parts = np.split(flat[1:], ends[:-1])
        sums = [parts[k : k + 2] for k in range(0, len(parts), 2)]
    means = [first / images for first, _ in sums]
    squares = [second / images for _, second in sums]
    return [(mean, np.maximum(square - mean**2, 0)) for mean, square in zip(means, squares, strict=True)], used


def _moments(model: "Supernet", visitor: _Moments, x: tf.Tensor, start: bool) -> list:
    visitor.layers.clear()
    visitor.moments.clear()
    if start:
        model.logits(visitor, x)
    else:
        model.body(visitor, model.start(Compute(visitor.level), x)[0])
    return list(visitor.moments)
