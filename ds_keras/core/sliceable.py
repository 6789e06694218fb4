"""What every sliceable layer shares: full weights, the size of a slice, and what a level's slice costs and becomes."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.backend import spend
from ds_keras.core.fake_quant import fake_quant_kernel
from ds_keras.core.levels import Size, check_level, slice_kernel, slice_size

Shape = tuple[Any, ...]  # integers; None where a size varies
Weights = list[np.ndarray]


class SliceableLayer(keras.layers.Layer):
    """A layer that keeps full weights and runs on a slice of them.

    Called with exactly one of ``slice_ratio`` (Python float or scalar tensor; the output size is the ratio times
    the full size, rounded to ``divisor``) and ``level`` (index into ``sizes``). The input size follows ``x``.

    Args:
        sizes: output size at every slice level, or None for a layer that is called with ratios only.
        divisor: sizes made from ratios are multiples of it.
        **kwargs: of ``keras.layers.Layer``.
    """

    int8: str | None = None  # what int8 makes of the layer, see ``quantization.rounding``; None where it knows it not
    kernel_axis: int | None = None  # of the output channels in the kernel, each of which has a scale in int8

    def __init__(self, sizes: Sequence[int] | None = None, divisor: int = 1, **kwargs: Any):
        spend(layers=1)
        # autocast=False: weights are cast after the cut, and a ratio tensor keeps its float32.
        super().__init__(autocast=False, **kwargs)
        if divisor < 1:
            raise ValueError(f"divisor must be at least 1, received {divisor!r}")
        self.sizes = None if sizes is None else tuple(int(size) for size in sizes)
        self.divisor = int(divisor)

    def _check_sizes(self, full: int, argument: str) -> None:
        if not isinstance(full, int | np.integer) or full < 1:
            raise ValueError(f"{argument} must be a positive integer, received {full!r}")
        if self.sizes is not None and (not self.sizes or not all(0 < size <= full for size in self.sizes)):
            raise ValueError(f"sizes must lie in [1, {argument}={full}], received {self.sizes}")

    def output_size(self, full: int, slice_ratio: Any, level: Any) -> Size:
        """The output size that a call asks for.

        Args:
            full: full output size.
            slice_ratio: ratio in (0, 1], or None.
            level: slice level, or None.

        Returns:
            int, or a scalar int32 tensor.

        Raises:
            ValueError: both or neither given, or one out of range.
        """
        if (slice_ratio is None) == (level is None):
            raise ValueError(
                f"{self.name}: give exactly one of slice_ratio and level, "
                f"received slice_ratio={slice_ratio!r} and level={level!r}"
            )
        if level is None:
            return slice_size(full, slice_ratio, self.divisor)
        if self.sizes is None:
            raise ValueError(f"{self.name}: level={level!r} needs a layer made with sizes=[...], one for each level")
        level = check_level(level, len(self.sizes))
        return self.sizes[level] if isinstance(level, int) else level.pick(self.sizes)

    def size_at(self, level: int) -> int:
        """The output size at a level, for layers made with ``sizes``."""
        if self.sizes is None:
            raise ValueError(f"{self.name}: level={level!r} needs a layer made with sizes=[...], one for each level")
        return self.sizes[level]

    def same_size(self, x: tf.Tensor, full: int, slice_ratio: Any, level: Any) -> Size:
        """The size of the last axis of ``x``, for a layer that keeps it and may still be told the ratio or level.

        Args:
            x: the input.
            full: size that the layer was built for.
            slice_ratio: ratio in (0, 1], or None.
            level: slice level, or None.

        Returns:
            int, or a scalar int32 tensor where it is known at run time only.

        Raises:
            ValueError: more than ``full``, or not what the ratio or level asks for.
        """
        size = input_channels(self, x, full)
        asked = self.output_size(full, slice_ratio, level)
        if tf.is_tensor(size):
            return asked
        if not tf.is_tensor(asked) and asked != size:
            raise ValueError(
                f"{self.name}: the layer keeps the size of x, which is {size}, but "
                f"slice_ratio={slice_ratio!r}, level={level!r} asks for {asked} of {full}"
            )
        return size

    def cut(self, kernel: Any, sizes: Sequence[Size], centre: Sequence[int] = ()) -> tf.Tensor:
        """The active slice of a weight, in the layer's compute dtype."""
        return tf.cast(slice_kernel(kernel, sizes, centre), self.compute_dtype)

    def cut_kernel(self, sizes: Sequence[Size], quantize: bool, centre: Sequence[int] = ()) -> tf.Tensor:
        """The active slice of ``self.kernel``; with ``quantize`` as its int8 codes give it."""
        kernel = fake_quant_kernel(self.kernel, self.kernel_axis) if quantize else self.kernel
        return self.cut(kernel, sizes, centre)

    def add_kernel(self, name: str, shape: Sequence[int], initializer: Any, trainable: bool = True) -> keras.Variable:
        """A full float32 weight that is cut before it is cast."""
        spend(weights=math.prod(shape))
        return self.add_weight(
            name=name, shape=tuple(shape), initializer=initializer, trainable=trainable, autocast=False
        )

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """Shape of the output at a level, for an input of ``input_shape``."""
        raise TypeError(f"{type(self).__name__} does not define output_shape_at()")

    def madds_at(self, input_shape: Shape, level: int) -> int:
        """Multiply-adds for one image (BatchNorm, activations and elementwise work count 0)."""
        return 0

    def params_at(self, input_shape: Shape, level: int) -> int:
        """Trainable weights that the level uses."""
        return sum(int(np.prod(weight.shape)) for weight in self.active_weights(input_shape, level, symbolic=True))

    def active_weights(self, input_shape: Shape, level: int, symbolic: bool = False) -> list:
        """The slices of the trainable weights that a level uses.

        Args:
            input_shape: of the layer's input at that level.
            level: slice level.
            symbolic: return objects with a ``shape`` only, which works on unbuilt layers.

        Returns:
            List of tensors (float32).
        """
        weights = self.weight_slices(input_shape, level)
        if symbolic:
            return [tf.TensorSpec(sizes) for _, sizes in weights]
        return [self.active_slice(name, sizes) for name, sizes in weights]

    def active_slice(self, name: str, sizes: Sequence[int]) -> tf.Tensor:
        """The part of the weight ``name`` of these sizes (float32): a prefix, but for a kernel's height and width."""
        return slice_kernel(getattr(self, name), sizes, centre=(0, 1) if len(sizes) == 4 else ())

    def weight_slices(self, input_shape: Shape, level: int) -> list[tuple[str, tuple[int, ...]]]:
        """Name and active sizes of every trainable weight, in the order of the plain layer's weights."""
        raise TypeError(f"{type(self).__name__} does not define weight_slices()")

    def plain(self, input_shape: Shape, level: int, name: str) -> list[tuple[Any, Weights]]:
        """The plain Keras layers that equal this layer at ``level``, one after another, each with its weights.

        A function of plain layers and ``keras.ops``, which sets their weights itself, comes with an empty list.
        """
        raise TypeError(f"{type(self).__name__} does not define plain()")

    def numpy_weights(self, input_shape: Shape, level: int) -> Weights:
        """The active slices as numpy arrays."""
        return [keras.ops.convert_to_numpy(weight) for weight in self.active_weights(input_shape, level)]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "sizes": self.sizes and list(self.sizes), "divisor": self.divisor}


def input_channels(layer: keras.layers.Layer, x: tf.Tensor, full: int) -> Any:
    """The size of the last axis of ``x``: an int, or a tensor where it is known at run time only.

    Raises:
        ValueError: more channels than the layer was built for.
    """
    channels = x.shape[-1]
    if channels is None:
        return tf.shape(x)[-1]
    if channels > full:
        raise ValueError(f"{layer.name}: x must have at most {full} channels, received {channels}")
    return channels
