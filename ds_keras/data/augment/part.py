"""Random numbers for a part of a batch: those that the whole batch would give to its images."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow as tf


class Part(NamedTuple):
    """The images of a batch that are here.

    Args:
        first: place of the first one in the whole batch.
        batch: images in the whole batch.
    """

    first: int
    batch: int


_PART: contextvars.ContextVar[Part | None] = contextvars.ContextVar("part", default=None)


@contextlib.contextmanager
def part_of_batch(part: Part | None) -> Iterator[None]:
    """Within it, ``draw`` and ``noise`` take the images that they are asked for as a part of a larger batch.

    Args:
        part: which; None for a whole batch.
    """
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


def whole(
    seed: tf.Tensor, shape: list, low: Any = 0.0, high: Any = 1.0, dtype: tf.DType = tf.float32, axis: int = 0
) -> tf.Tensor:
    """Uniform numbers in [low, high) for all images of the whole batch, a pure function of the seed.

    Args:
        seed: (2,) integers.
        shape: with the images that are here.
        low: smallest number.
        high: bound above the largest one.
        dtype: of the numbers.
        axis: of ``shape``: the images.

    Returns:
        The numbers; ``shape`` with the whole batch along the axis.
    """
    part = _PART.get()
    images = shape[axis] if part is None else part.batch
    return tf.random.stateless_uniform([*shape[:axis], images, *shape[axis + 1 :]], seed, low, high, dtype)


def here(numbers: tf.Tensor, count: Any, axis: int = 0) -> tf.Tensor:
    """Of the numbers of the whole batch, those of the ``count`` images that are here."""
    part = _PART.get()
    if part is None:
        return numbers
    return tf.gather(numbers, tf.range(part.first, part.first + count), axis=axis)


def draw(
    seed: tf.Tensor, shape: list, low: Any = 0.0, high: Any = 1.0, dtype: tf.DType = tf.float32, axis: int = 0
) -> tf.Tensor:
    """Of ``whole`` the numbers of the images that are here: a tensor of that shape."""
    return here(whole(seed, shape, low, high, dtype, axis), shape[axis], axis)


def noise(seed: tf.Tensor, shape: tf.Tensor, high: float, chosen: tf.Tensor) -> tf.Tensor:
    """Uniform numbers in [0, high) for whole images; those of other parts of the batch are not made.

    Args:
        seed: (2,) integers.
        shape: (4,) integers: of the images that get noise here.
        high: bound above the largest number.
        chosen: (whole batch,) which images get noise.

    Returns:
        float32 of that shape.
    """
    part = _PART.get()
    if part is None:
        return tf.random.stateless_uniform(shape, seed, 0.0, high)
    before = tf.math.count_nonzero(chosen[: part.first]) * tf.cast(tf.reduce_prod(shape[1:]), tf.int64)
    count = tf.cast(tf.reduce_prod(shape), tf.int64)
    # The generator (Philox) counts up by one for every four numbers, so it can begin anywhere.
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    counter = tf.stack([counter[0] + tf.cast(before // 4, tf.uint64), counter[1]])
    drawn = tf.raw_ops.StatelessRandomUniformV2(shape=[before % 4 + count], key=key, counter=counter, alg=1)
    return tf.reshape(drawn[before % 4 :] * high, shape)
