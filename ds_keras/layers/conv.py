"""Convolutions whose filters are sliced."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.layers.base import Shape, SliceableLayer, Weights

PADDINGS = ("same", "valid", "symmetric")


def pair(value: Any, argument: str) -> tuple[int, int]:
    """``3`` or ``(3, 3)`` -> ``(3, 3)``, positive integers only."""
    values = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int) and v > 0 for v in values):
        raise ValueError(f"{argument} must be a positive integer or a pair of them, received {value!r}")
    return values


class _Convolution(SliceableLayer):
    """Kernel size, strides and padding: what the convolutions share.

    ``padding="symmetric"`` pads (kernel - 1) // 2 on every side, as PyTorch does, whatever the stride.
    """

    def __init__(self, kernel_size: Any, strides: Any, padding: str, sizes: Sequence[int] | None, **kwargs: Any):
        super().__init__(sizes=sizes, **kwargs)
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.strides = pair(strides, "strides")
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {PADDINGS}, received {padding!r}")
        self.padding = padding

    def _margins(self) -> list[tuple[int, int]]:
        return [((k - 1) // 2, (k - 1) // 2) for k in self.kernel_size]

    def _tf_padding(self) -> Any:
        if self.padding == "symmetric":
            return [(0, 0), *self._margins(), (0, 0)]
        return self.padding.upper()

    def _spatial(self, input_shape: Shape) -> tuple[int | None, ...]:
        sizes = []
        for n, k, s in zip(input_shape[1:3], self.kernel_size, self.strides, strict=True):
            if n is None:
                sizes.append(None)
            elif self.padding == "same":
                sizes.append(-(-n // s))
            else:
                sizes.append((n + (2 * ((k - 1) // 2) if self.padding == "symmetric" else 0) - k) // s + 1)
        return tuple(sizes)

    def _plain(self, layer_class: Any, weights: Weights, name: str, **kwargs: Any) -> list:
        conv = layer_class(
            kernel_size=self.kernel_size,
            strides=self.strides,
            padding="same" if self.padding == "same" else "valid",
            use_bias=len(weights) == 2,
            name=name,
            **kwargs,
        )
        if self.padding != "symmetric" or self.kernel_size == (1, 1):
            return [(conv, weights)]
        return [(keras.layers.ZeroPadding2D(self._margins(), name=f"{name}_pad"), []), (conv, weights)]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable("ds_keras")
class SliceableConv2D(_Convolution):
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
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels) float; channels up to the built ones, the kernel's input follows them.
        slice_ratio: Python float or scalar tensor in (0, 1].
        level: int or scalar integer tensor, instead of the ratio.
        Returns (batch, new height, new width, ratio x filters).

    Raises:
        ValueError: bad sizes, ratio, level or channels.

    Source: DS-Net, arXiv 2103.13258, section 3.1.

    Example:
        >>> conv = SliceableConv2D(64, 3)
        >>> conv(tf.ones([1, 8, 8, 16]), slice_ratio=0.5).shape
        TensorShape([1, 8, 8, 32])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "same",
        use_bias: bool = False,
        sizes: Sequence[int] | None = None,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ):
        super().__init__(kernel_size, strides, padding, sizes, **kwargs)
        self._check_sizes(filters, "filters")
        self.filters = int(filters)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        """Creates the full kernel for ``input_shape[-1]`` channels."""
        self.kernel = self.add_kernel(
            "kernel", (*self.kernel_size, int(input_shape[-1]), self.filters), self.kernel_initializer
        )
        if self.use_bias:
            self.bias = self.add_kernel("bias", (self.filters,), "zeros")
        self.built = True

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Convolves with the active slice."""
        filters = self.output_size(self.filters, slice_ratio, level)
        x = tf.cast(x, self.compute_dtype)
        channels = input_channels(self, x, self.kernel.shape[2])
        kernel = self.cut(self.kernel, [*self.kernel_size, channels, filters])
        y = tf.nn.conv2d(x, kernel, self.strides, self._tf_padding())
        return tf.nn.bias_add(y, self.cut(self.bias, [filters])) if self.use_bias else y

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (input_shape[0], *self._spatial(input_shape), self.sizes[level])

    def madds_at(self, input_shape: Shape, level: int) -> int:
        """Cin x cout x kernel area x output area."""
        _, height, width, filters = self.output_shape_at(input_shape, level)
        return height * width * filters * input_shape[-1] * self.kernel_size[0] * self.kernel_size[1]

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        filters = self.sizes[level]
        kernel = ("kernel", (*self.kernel_size, input_shape[-1], filters))
        return [kernel, ("bias", (filters,))] if self.use_bias else [kernel]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.Conv2D``."""
        weights = self.numpy_weights(input_shape, level)
        return self._plain(keras.layers.Conv2D, weights, name, filters=self.sizes[level])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable("ds_keras")
class SliceableDepthwiseConv2D(_Convolution):
    """Depthwise 2D convolution: one filter for each channel of ``x``, so its size follows ``x``.

    ``slice_ratio`` or ``level`` is accepted, as for every sliceable layer, and must agree with ``x``.

    Args:
        kernel_size: int or pair.
        strides: int, the same for height and width.
        padding: "same", "valid" or "symmetric" (PyTorch's).
        sizes: channels at every slice level, for calls with ``level=``.
        kernel_initializer: Keras initializer.
        **kwargs: of ``keras.layers.Layer``.

    Raises:
        ValueError: bad arguments, or a ratio or level that does not give the channels of ``x``.

    Source: DS-Net, arXiv 2103.13258, section 3.1.

    Example:
        >>> layer = SliceableDepthwiseConv2D(3, sizes=[8, 16])
        >>> layer.build((None, 8, 8, 16))
        >>> layer(tf.ones([1, 8, 8, 8]), level=0).shape
        TensorShape([1, 8, 8, 8])
    """

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "same",
        sizes: Sequence[int] | None = None,
        kernel_initializer: Any = "he_normal",
        **kwargs: Any,
    ):
        super().__init__(kernel_size, strides, padding, sizes, **kwargs)
        if self.strides[0] != self.strides[1]:
            raise ValueError(f"strides of a depthwise convolution must be equal, received {strides!r}")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        """Creates the full kernel for ``input_shape[-1]`` channels."""
        channels = int(input_shape[-1])
        self._check_sizes(channels, "channels")
        # The fan of a depthwise kernel is its area: initialise it as a 1-channel convolution with C filters.
        area_first = (*self.kernel_size, 1, channels)
        values = tf.transpose(self.kernel_initializer(area_first, "float32"), [0, 1, 3, 2])
        self.kernel = self.add_kernel("kernel", values.shape, lambda shape, dtype: values)
        self.built = True

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Convolves every channel of ``x`` with its filter."""
        x = tf.cast(x, self.compute_dtype)
        full = self.kernel.shape[2]
        channels = input_channels(self, x, full)
        asked = self.output_size(full, slice_ratio, level)
        if not tf.is_tensor(asked) and not tf.is_tensor(channels) and asked != channels:
            raise ValueError(
                f"{self.name}: a depthwise convolution keeps its channels, but x has {channels} and "
                f"slice_ratio={slice_ratio!r}, level={level!r} asks for {asked} of {full}"
            )
        kernel = self.cut(self.kernel, [*self.kernel_size, asked if tf.is_tensor(channels) else channels, 1])
        return tf.nn.depthwise_conv2d(x, kernel, (1, *self.strides, 1), self._tf_padding())

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (input_shape[0], *self._spatial(input_shape), input_shape[-1])

    def madds_at(self, input_shape: Shape, level: int) -> int:
        """Channels x kernel area x output area."""
        _, height, width, channels = self.output_shape_at(input_shape, level)
        return height * width * channels * self.kernel_size[0] * self.kernel_size[1]

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        return [("kernel", (*self.kernel_size, input_shape[-1], 1))]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.DepthwiseConv2D``."""
        return self._plain(keras.layers.DepthwiseConv2D, self.numpy_weights(input_shape, level), name)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}


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
