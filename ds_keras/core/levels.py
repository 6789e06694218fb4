"""Slice levels, slice sizes, and the one function that cuts kernels.

Source: DS-Net (arXiv 2103.13258, section 3.1) slices the filters of a convolution as a dense prefix;
DS-Net++ (arXiv 2109.10060, section 3) slices every dimension, the kernel size by a centre crop.
"""

import copy
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
import tensorflow as tf

from ds_keras.core.backend import spend

Size: TypeAlias = int | tf.Tensor

# Ratios are compared in float32, as tensors hold them; the slack keeps 0.7 x 5 = 3.5 on the upper side
# there too, so that a Python float and a tensor of the same ratio always give the same size.
_SLACK = 1e-3


@dataclass(frozen=True)
class SliceLevel:
    """One sub-network of a supernet.

    Args:
        index: position among the model's levels, smallest first.
        ratios: the slice ratio of every sliced dimension, by name, each in (0, 1].

    Example:
        >>> SliceLevel(0, {"stage4": 0.35, "stage5": 0.64})
    """

    index: int
    ratios: Mapping[str, float]

    def __str__(self) -> str:
        return f"level {self.index} ({', '.join(f'{k} {v:.2f}' for k, v in self.ratios.items())})"


class LevelTensor:
    """A scalar slice level that is known at run time only: checked once, then used by every layer of a pass.

    Remembers what it has picked, because many layers share a list of sizes; so it lives within one graph.

    Args:
        level: scalar integer tensor.
        count: number of levels; ``tf.errors.InvalidArgumentError`` when run with another level.

    Raises:
        ValueError: not a scalar integer tensor.
    """

    def __init__(self, level: tf.Tensor, count: int):
        if not level.dtype.is_integer or level.shape.rank not in (0, None):
            raise ValueError(
                f"level must be a scalar integer in [0, {count}), received {level.dtype.name} {level.shape}"
            )
        level = tf.cast(level, tf.int32)
        check = tf.debugging.Assert((level >= 0) & (level < count), [f"level must be in [0, {count}), received", level])
        with tf.control_dependencies([check] if check is not None else []):
            self.tensor = tf.identity(level)
        self.count = count
        self._picked: dict[tuple[int, ...], Size] = {}

    def copy(self) -> "LevelTensor":
        """The same level for another graph, such as a branch of a conditional."""
        twin = copy.copy(self)
        twin._picked = {}
        return twin

    def pick(self, values: Sequence[int]) -> Size:
        """The value of this level: a scalar int32 tensor, or an int where all levels agree."""
        values = tuple(values)
        if len(set(values)) == 1:
            return values[0]
        if values not in self._picked:
            self._picked[values] = tf.gather(tf.constant(values, tf.int32), self.tensor)
        return self._picked[values]


Level = int | LevelTensor


def first_levels(depths: Sequence[int]) -> list[int]:
    """For each of a row of blocks, the smallest level that has it.

    Args:
        depths: how many of the blocks each level has, not decreasing.

    Returns:
        One level for each block of the largest.

    Example:
        >>> first_levels([1, 2, 4])
        [0, 1, 2, 2]
    """
    spend(layers=depths[-1])
    return [sum(depth <= i for depth in depths) for i in range(depths[-1])]


def slice_size(size: int, slice_ratio: Any, divisor: int = 1) -> Size:
    """Turns a slice ratio into a size: ``slice_ratio * size`` rounded to ``divisor``; ratio 1 is the full size.

    Args:
        size: full size of the dimension.
        slice_ratio: Python float or scalar float tensor in (0, 1].
        divisor: the result is a multiple of it, unless it is ``size`` itself.

    Returns:
        An int for a Python ratio, else a scalar int32 tensor of the same value.

    Raises:
        ValueError: the Python ratio is not in (0, 1]; for a tensor, ``tf.errors.InvalidArgumentError`` when run.

    Example:
        >>> slice_size(64, 0.3, divisor=8)
        16
    """
    message = "slice_ratio must be in (0, 1]"
    if tf.is_tensor(slice_ratio):
        if slice_ratio.shape.rank not in (0, None):
            raise ValueError(f"slice_ratio must be a scalar, received a tensor of shape {slice_ratio.shape}")
        ratio = tf.cast(slice_ratio, tf.float32)
        check = tf.debugging.Assert((ratio > 0) & (ratio <= 1), [message + ", received", ratio])
        with tf.control_dependencies([check] if check is not None else []):
            steps = tf.floor(tf.cast(ratio, tf.float64) * (size / divisor) + (0.5 + _SLACK))
        return tf.where(ratio < 1, tf.minimum(tf.maximum(tf.cast(steps, tf.int32), 1) * divisor, size), size)
    try:
        ratio = float(slice_ratio)
    except (TypeError, ValueError):
        raise ValueError(f"{message}, received {slice_ratio!r}") from None
    if not 0 < ratio <= 1:  # false for NaN too
        raise ValueError(f"{message}, received {slice_ratio!r}")
    if np.float32(ratio) == 1:
        return size
    return min(max(math.floor(float(np.float32(ratio)) * (size / divisor) + (0.5 + _SLACK)), 1) * divisor, size)


@overload
def check_level(level: int, count: int) -> int: ...


@overload
def check_level(level: Any, count: int) -> Level: ...


def check_level(level: Any, count: int) -> Level:
    """Checks a slice level: a Python or numpy integer becomes an int, a tensor is checked when it runs.

    Args:
        level: integer, scalar integer tensor or ``LevelTensor``, in [0, count).
        count: number of levels.

    Returns:
        The level, as an int or as a ``LevelTensor``.

    Raises:
        ValueError: the level is not an integer, or is out of range (``InvalidArgumentError`` for a tensor).

    Example:
        >>> check_level(2, count=4)
        2
    """
    if type(level) is int and 0 <= level < count:  # most calls: the checks below take longer than a small layer
        return level
    if isinstance(level, LevelTensor):
        if level.count > count:
            raise ValueError(f"level is one of {level.count}, but only {count} are known here")
        return level
    if tf.is_tensor(level):
        return LevelTensor(level, count)
    try:
        index = operator.index(level)
    except TypeError:
        index = -1
    if isinstance(level, bool) or not 0 <= index < count:
        raise ValueError(f"level must be an integer in [0, {count}), received {level!r}")
    return index


def slice_kernel(kernel: Any, sizes: Sequence[Size], centre: Sequence[int] = ()) -> tf.Tensor:
    """Cuts the part of a kernel that a sub-network uses: the one place that slices weights.

    Args:
        kernel: full kernel, any rank: variable or tensor.
        sizes: one size for each axis: ints, or scalar int32 tensors for a size known at run time.
        centre: axes that are cropped around their centre (the kernel's height and width); the others keep a prefix.

    Returns:
        Tensor of shape ``sizes``; the kernel itself where every size is the full one.

    Raises:
        ValueError: ``sizes`` does not fit the kernel.

    Example:
        >>> slice_kernel(tf.ones([3, 3, 16, 32]), [3, 3, 8, 24]).shape
        TensorShape([3, 3, 8, 24])
    """
    kernel = tf.convert_to_tensor(kernel)
    full = kernel.shape.as_list()
    static = [size if type(size) is int else None if tf.is_tensor(size) else int(size) for size in sizes]
    if len(static) != len(full) or any(s is not None and not 0 < s <= f for s, f in zip(static, full, strict=True)):
        raise ValueError(f"sizes must lie within the kernel's shape {full}, received {static}")
    if static == full:
        return kernel
    begin = [(full[axis] - size) // 2 if axis in centre else 0 for axis, size in enumerate(sizes)]
    # Explicit sizes and a pinned static shape: a -1, or an unknown spatial size, makes converters guess the padding.
    part = tf.slice(kernel, tf.stack(begin), tf.stack(list(sizes)))
    return tf.ensure_shape(part, static) if None in static else part


def require_levels(model: Any) -> None:
    """Refuses a network that has no slice levels, where what is asked needs them.

    Args:
        model: any network.

    Raises:
        ValueError: it has none; a network of ds_keras says what it offers instead (``ImageModel.without_levels``).
    """
    if not hasattr(model, "levels"):
        received = f"model must be a supernet (DSMobileNet, DSResNet, DSViT), received {type(model).__name__}"
        raise ValueError(getattr(model, "without_levels", None) or received)
