"""int8 codes of a kernel: a scale for each output channel of the full kernel, so that a level's codes are a slice."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def kernel_scale(kernel: Any, axis: int | None) -> tf.Tensor:
    """The scale of a kernel's int8 codes: largest magnitude / 127.

    Args:
        kernel: full kernel, float32: the scale is the same at every level.
        axis: of the output channels, which have a scale each; None for one scale of the whole kernel.

    Returns:
        (channels,) or () float32. Above 0: a channel 10,000 times smaller than the largest counts as nothing.
    """
    kernel = tf.convert_to_tensor(kernel)
    scale = tf.reduce_max(tf.abs(kernel), [i for i in range(kernel.shape.rank) if i != axis]) / 127
    return tf.maximum(scale, tf.maximum(1e-4 * tf.reduce_max(scale), 1e-20))


def fake_quant_kernel(kernel: Any, axis: int | None) -> tf.Tensor:
    """A kernel as its int8 codes give it, with the gradient of the kernel itself (straight-through).

    Args:
        kernel: full kernel.
        axis: see ``kernel_scale``.

    Returns:
        float32 of the kernel's shape.

    Source: arXiv 1712.05877; scales of the full kernel for all levels: ours.
    """
    kernel = tf.convert_to_tensor(kernel)
    scale = along(kernel_scale(kernel, axis), axis, kernel.shape.rank)
    return kernel + tf.stop_gradient(tf.round(kernel / scale) * scale - kernel)


def along(values: Any, axis: int | None, rank: int) -> Any:
    """(channels,) values in the shape that multiplies a tensor of this rank along ``axis``; others as they are."""
    shape: Sequence[int] = [] if axis is None else [-1 if i == axis else 1 for i in range(rank)]
    return tf.reshape(values, shape) if tf.is_tensor(values) else values.reshape(shape)
