"""Convolutions whose filters are sliced."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.levels import Size, check_level
from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.sliceable import Shape, SliceableLayer, Weights, input_channels

PADDINGS = ("same", "valid", "symmetric")


def pair(value: Any, argument: str) -> tuple[int, int]:
    """``3`` or ``(3, 3)`` -> ``(3, 3)``, positive integers only."""
    values = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(f"{argument} must be a positive integer or a pair of them, received {value!r}")
    return values


class Convolution(SliceableLayer):
    """Kernel size, strides and padding: what the convolutions share.

    ``padding="symmetric"`` pads (kernel - 1) // 2 on every side, as PyTorch does, whatever the stride. A level may use
    the centre of the kernel only: ``kernel_sizes`` lists the size at every level, of the same parity as the full one.
    """

    def __init__(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        sizes: Sequence[int] | None,
        kernel_initializer: Any,
        kernel_sizes: Sequence[int] | None,
        **kwargs: Any,
    ):
        super().__init__(sizes=sizes, **kwargs)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.strides = pair(strides, "strides")
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {PADDINGS}, received {padding!r}")
        self.padding = padding
        self.kernel_sizes = None if kernel_sizes is None else [int(size) for size in kernel_sizes]
        if self.kernel_sizes is not None:
            if self.sizes is not None and len(self.kernel_sizes) != len(self.sizes):
                raise ValueError(
                    f"kernel_sizes must list a size for each level, as sizes={self.sizes} does, received {kernel_sizes}"
                )
            for size in self.kernel_sizes:
                self._check_kernel_size(size, "kernel_sizes")

    def _check_kernel_size(self, size: int, argument: str) -> None:
        if any(not 0 < size <= full or (full - size) % 2 for full in self.kernel_size):
            raise ValueError(
                f"{argument} must be at most kernel_size={self.kernel_size} and smaller by an even number, so that "
                f"the crop has a centre; received {size!r}"
            )

    def kernel_area(self, level: Any, kernel_size: Any = None) -> tuple[Size, Size]:
        """Height and width of the kernel that a call uses: ints, or a tensor for a level known at run time only."""
        if kernel_size is not None:
            if level is not None:
                raise ValueError(f"{self.name}: kernel_size goes with slice_ratio, received level={level!r} with it")
            if not tf.is_tensor(kernel_size):
                self._check_kernel_size(kernel_size, "kernel_size")
                return kernel_size, kernel_size
            size, full = tf.cast(kernel_size, tf.int32), min(self.kernel_size)
            fits = (size > 0) & (size <= full) & ((full - size) % 2 == 0)
            check = tf.debugging.Assert(fits, ["kernel_size must be smaller by an even number than", full, "not", size])
            with tf.control_dependencies([check] if check is not None else []):
                size = tf.identity(size)
            return size, size
        if level is None or self.kernel_sizes is None:
            return self.kernel_size
        if not isinstance(level, int):  # output_size has checked it; visitors over shapes count from the end too
            level = check_level(level, len(self.kernel_sizes))
        size = self.kernel_sizes[level] if isinstance(level, int) else level.pick(self.kernel_sizes)
        return size, size

    def _padded(self, x: tf.Tensor, area: tuple[Size, Size]) -> tuple[tf.Tensor, Any]:
        """The input and the padding argument of TensorFlow's convolutions."""
        if self._tf_padding != "PAD":
            return x, self._tf_padding
        # Not the convolution's own explicit padding: in bfloat16 on a CPU that is many times slower.
        return tf.pad(x, [(0, 0), *_margins(area), (0, 0)]), "VALID"

    @property
    def _tf_padding(self) -> str:
        """TensorFlow's padding, or "PAD" where x has to be padded first."""
        if self.padding != "symmetric":
            return self.padding.upper()
        if self.kernel_size == (1, 1):
            return "VALID"
        odd = all(k % 2 for k in self.kernel_size)
        return "SAME" if odd and self.strides == (1, 1) else "PAD"

    def _spatial(self, input_shape: Shape, level: int) -> Shape:
        sizes: list[int | None] = []
        for n, k, s in zip(input_shape[1:3], self.kernel_area(level), self.strides, strict=True):
            if n is None:
                sizes.append(None)
            elif self.padding == "same":
                sizes.append(-(-n // s))
            else:
                sizes.append((n + (2 * ((k - 1) // 2) if self.padding == "symmetric" else 0) - k) // s + 1)
        return tuple(sizes)

    def madds_at(self, input_shape: Shape, level: int) -> int:
        """Size of the active kernel x output area."""
        _, kernel = self.weight_slices(input_shape, level)[0]
        return math.prod(self._spatial(input_shape, level)) * math.prod(kernel)

    def _plain(self, layer_class: Any, weights: Weights, name: str, **kwargs: Any) -> list:
        area = weights[0].shape[:2]
        conv = layer_class(
            kernel_size=area,
            strides=self.strides,
            padding="same" if self._tf_padding == "SAME" else "valid",
            use_bias=len(weights) == 2,
            name=name,
            **CHANNELS_LAST,
            **kwargs,
        )
        if self._tf_padding != "PAD" or area == (1, 1):
            return [(conv, weights)]
        pad = keras.layers.ZeroPadding2D(_margins(area), name=f"{name}_pad", **CHANNELS_LAST)
        return [(pad, []), (conv, weights)]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "kernel_sizes": self.kernel_sizes,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _margins(area: tuple[Size, Size]) -> list[tuple[Size, Size]]:
    return [((k - 1) // 2, (k - 1) // 2) for k in area]


@keras.saving.register_keras_serializable("ds_keras")
class SliceableConv2D(Convolution):
    """2D convolution that runs with the first filters of its kernel.

    Args:
        filters: full number of output channels.
        kernel_size: int or pair.
        strides: int or pair.
        padding: "same", "valid" or "symmetric" (PyTorch's).
        use_bias: adds a bias, sliced like the filters.
        sizes: output channels at every slice level, for calls with ``level=``.
        divisor: output channels made from a ratio are multiples of it.
        kernel_initializer: Keras initializer.
        kernel_sizes: size of the centre crop of the kernel at every slice level; default the whole kernel.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels) float; channels up to the built ones, the kernel's input follows them.
        slice_ratio: Python float or scalar tensor in (0, 1].
        level: int or scalar integer tensor, instead of the ratio.
        kernel_size: with ``slice_ratio``: size of the centre crop, int or scalar int32 tensor.
        quantize: rounds the kernel to its int8 codes (see ``core.fake_quant``).
        Returns (batch, new height, new width, ratio x filters).

    Raises:
        ValueError: bad sizes, ratio, level or channels.

    Source: DS-Net, arXiv 2103.13258, section 3.1; kernel size: DS-Net++, arXiv 2109.10060, section 3.

    Example:
        >>> conv = SliceableConv2D(64, 3)
        >>> conv(tf.ones([1, 8, 8, 16]), slice_ratio=0.5).shape
        TensorShape([1, 8, 8, 32])
    """

    int8 = "kernel"
    kernel_axis = 3

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "same",
        use_bias: bool = False,
        sizes: Sequence[int] | None = None,
        kernel_initializer: Any = "he_normal",
        kernel_sizes: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(kernel_size, strides, padding, sizes, kernel_initializer, kernel_sizes, **kwargs)
        self._check_sizes(filters, "filters")
        self.filters = int(filters)
        self.use_bias = bool(use_bias)

    def build(self, input_shape: Shape) -> None:
        """Creates the full kernel for ``input_shape[-1]`` channels."""
        self.kernel = self.add_kernel(
            "kernel", (*self.kernel_size, int(input_shape[-1]), self.filters), self.kernel_initializer
        )
        if self.use_bias:
            self.bias = self.add_kernel("bias", (self.filters,), "zeros")
        self.built = True

    def call(
        self,
        x: tf.Tensor,
        slice_ratio: Any = None,
        level: Any = None,
        kernel_size: Any = None,
        training: bool = False,
        quantize: bool = False,
    ) -> tf.Tensor:
        """Convolves with the active slice."""
        filters = self.output_size(self.filters, slice_ratio, level)
        area = self.kernel_area(level, kernel_size)
        x = tf.cast(x, self.compute_dtype)
        x, padding = self._padded(x, area)
        channels = input_channels(self, x, self.kernel.shape[2])
        kernel = self.cut_kernel([*area, channels, filters], quantize, centre=(0, 1))
        y = tf.nn.conv2d(x, kernel, self.strides, padding)
        return tf.nn.bias_add(y, self.cut(self.bias, [filters])) if self.use_bias else y

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (input_shape[0], *self._spatial(input_shape, level), self.size_at(level))

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        filters = self.size_at(level)
        kernel = ("kernel", (*self.kernel_area(level), input_shape[-1], filters))
        return [kernel, ("bias", (filters,))] if self.use_bias else [kernel]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.Conv2D``."""
        weights = self.numpy_weights(input_shape, level)
        return self._plain(keras.layers.Conv2D, weights, name, filters=self.size_at(level))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "use_bias": self.use_bias,
        }
