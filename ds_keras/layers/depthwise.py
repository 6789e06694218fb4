"""A depthwise convolution whose channels are sliced."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.sliceable import Shape
from ds_keras.layers.conv import Convolution


@keras.saving.register_keras_serializable("ds_keras")
class SliceableDepthwiseConv2D(Convolution):
    """Depthwise 2D convolution: one filter for each channel of ``x``, so its size follows ``x``.

    ``slice_ratio`` or ``level`` is accepted, as for every sliceable layer, and must agree with ``x``.

    Args:
        kernel_size: int or pair.
        strides: int, the same for height and width.
        padding: "same", "valid" or "symmetric" (PyTorch's).
        sizes: channels at every slice level, for calls with ``level=``.
        kernel_initializer: Keras initializer.
        kernel_sizes: size of the centre crop of the kernel at every slice level; default the whole kernel.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        As ``SliceableConv2D``; returns (batch, new height, new width, channels of x).

    Raises:
        ValueError: bad arguments, or a ratio or level that does not give the channels of ``x``.

    Source: DS-Net, arXiv 2103.13258, section 3.1; kernel size: DS-Net++, arXiv 2109.10060, section 3.

    Example:
        >>> layer = SliceableDepthwiseConv2D(3, sizes=[8, 16])
        >>> layer.build((None, 8, 8, 16))
        >>> layer(tf.ones([1, 8, 8, 8]), level=0).shape
        TensorShape([1, 8, 8, 8])
    """

    int8 = "kernel"
    kernel_axis = 2

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "same",
        sizes: Sequence[int] | None = None,
        kernel_initializer: Any = "he_normal",
        kernel_sizes: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(kernel_size, strides, padding, sizes, kernel_initializer, kernel_sizes, **kwargs)
        if self.strides[0] != self.strides[1]:
            raise ValueError(f"strides of a depthwise convolution must be equal, received {strides!r}")

    def build(self, input_shape: Shape) -> None:
        """Creates the full kernel for ``input_shape[-1]`` channels."""
        channels = int(input_shape[-1])
        self._check_sizes(channels, "channels")
        # The fan of a depthwise kernel is its area: initialise it as a 1-channel convolution with C filters.
        area_first = (*self.kernel_size, 1, channels)

        def initial(shape: Shape, dtype: Any) -> tf.Tensor:
            return tf.transpose(self.kernel_initializer(area_first, "float32"), [0, 1, 3, 2])

        self.kernel = self.add_kernel("kernel", (*self.kernel_size, channels, 1), initial)
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
        """Convolves every channel of ``x`` with its filter."""
        x = tf.cast(x, self.compute_dtype)
        channels = self.same_size(x, self.kernel.shape[2], slice_ratio, level)
        area = self.kernel_area(level, kernel_size)
        sizes = [*area, channels, 1]
        x, padding = self._padded(x, area)
        kernel = self.cut_kernel(sizes, quantize, centre=(0, 1))
        return tf.nn.depthwise_conv2d(x, kernel, (1, *self.strides, 1), padding)

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (input_shape[0], *self._spatial(input_shape, level), input_shape[-1])

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        return [("kernel", (*self.kernel_area(level), input_shape[-1], 1))]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.DepthwiseConv2D``."""
        return self._plain(keras.layers.DepthwiseConv2D, self.numpy_weights(input_shape, level), name)
