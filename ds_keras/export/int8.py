"""A level as a plain Keras network that says where and to what an int8 file rounds.

The converter takes every scale from the fake quantisation in the graph, so that nothing is left to its own choice: the
kernels' codes are slices of one payload, and the features have one scale on both sides of the border.
"""

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.fake_quant import along
from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.export.kernel import AXES, Kernel
from ds_keras.export.subnet import Plain, assemble
from ds_keras.quantization.rounding import FIXED, IMAGES, Range, Rounding

if TYPE_CHECKING:
    from ds_keras.core.network import SliceableNetwork


def int8_network(
    model: "SliceableNetwork", level: int, part: str, ranges: dict[str, Range]
) -> tuple[keras.Model, list[Kernel]]:
    """A part of a level with fake quantisation, BatchNorm folded.

    Args:
        model: supernet of convolutions.
        level: slice level.
        part: see ``subnet.assemble``.
        ranges: of the level, see ``quantization.activation_ranges``.

    Returns:
        The network, and the ``Kernel``s that it is made of.

    Raises:
        ValueError: a layer that int8 does not know.
    """
    visitor = _Quantized(level, ranges)
    network = assemble(model, visitor, part)
    visitor.set_codes()
    return network, visitor.kernels


class _Quantized(Rounding, Plain):
    """Plain twins whose kernels and outputs are rounded."""

    def __init__(self, level: int, ranges: dict[str, Range]):
        super().__init__(level, fold=True, apart=True)
        self.ranges = ranges
        self.rounds: Counter[str] = Counter()  # of each name

    def plain(self, twin: keras.layers.Layer) -> Any:
        """See the base class."""
        if isinstance(twin, keras.layers.Rescaling):
            return partial(_normalized, twin)
        if isinstance(twin, keras.layers.Activation) and twin.activation is keras.activations.silu:
            return _Swish.from_config(twin.get_config())
        for kind, rounded in TWINS.items():
            if isinstance(twin, kind):
                return rounded.from_config(twin.get_config())
        return twin

    def border(self, features: Any) -> Any:
        """See the base class."""
        self.name(features, "features")
        rounded = self.rounded(features)
        return self.round(features, "features", None) if rounded is features else rounded

    def output(self, y: Any) -> Any:
        """See the base class."""
        return self.rounded(y)

    def round(self, x: Any, name: str, fixed: Range | None) -> Any:
        """See the base class."""
        self.rounds[name] += 1
        again = "" if self.rounds[name] == 1 else str(self.rounds[name])
        return _FakeQuant(*(fixed or self.ranges[name]), name=f"{name}_rounded{again}")(x)

    def set_codes(self) -> None:
        """Gives every twin the kernel that its codes stand for, once BatchNorm has been folded."""
        for twin, kernel in self.twins:
            codes, scale = kernel.stored("int8"), kernel.code_scale("int8")
            codes = codes.transpose(np.argsort(AXES[codes.ndim]))
            _, *bias, _ = twin.get_weights()
            twin.set_weights([codes * along(scale, kernel.layer.kernel_axis, codes.ndim), *bias, 127 * scale])


def _normalized(rescale: keras.layers.Rescaling, x: Any) -> Any:
    """Images rounded to whole numbers, then normalised by a depthwise 1x1 convolution: a code for each channel.

    Folding it into the stem would not be exact where zeros pad the normalised image.
    """
    x = _FakeQuant(*IMAGES, name="images_rounded")(x)
    twin = _Depthwise(1, name=rescale.name, **CHANNELS_LAST)
    y = twin(x)
    factor, offset = (
        np.broadcast_to(np.ravel(v), x.shape[-1:]).astype("float32") for v in (rescale.scale, rescale.offset)
    )
    twin.set_weights([factor.reshape(1, 1, -1, 1), offset, factor])
    return y


class _FakeQuant(keras.layers.Layer):
    """Rounds to 256 steps over a range."""

    def __init__(self, low: float, high: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, x: Any) -> Any:
        """Rounds."""
        return tf.quantization.fake_quant_with_min_max_args(x, self.low, self.high)

    def compute_output_shape(self, shape: Any) -> Any:
        """That of the input."""
        return shape


class _Swish(keras.layers.Activation):
    """x * sigmoid(x) as LiteRT's two operators compute it: the first rounds too."""

    def call(self, x: Any) -> Any:
        """Rounds the sigmoid, not yet the product."""
        return x * tf.quantization.fake_quant_with_min_max_args(tf.sigmoid(x), *FIXED["sigmoid"])


class _Rounded(keras.layers.Layer):
    """A layer whose kernel is rounded to int8 codes: its last weight is 127 x their scale."""

    kernel: keras.Variable

    channels: int | None = 3  # axis of the kernel along which the scale differs

    def build(self, input_shape: Any) -> None:
        """Adds the limit."""
        super().build(input_shape)
        shape = () if self.channels is None else (self.kernel.shape[self.channels],)
        self.limit = self.add_weight(name="limit", shape=shape, initializer="ones", trainable=False)

    def rounded_kernel(self) -> tf.Tensor:
        """The kernel as its codes give it."""
        kernel, limit = tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.limit)
        if self.channels is None:
            return tf.quantization.fake_quant_with_min_max_vars(kernel, -limit, limit, narrow_range=True)
        flat = tf.reshape(kernel, kernel.shape[: self.channels + 1])  # a depthwise kernel ends with an axis of 1
        flat = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -limit, limit, narrow_range=True)
        return tf.reshape(flat, kernel.shape)


class _Conv(_Rounded, keras.layers.Conv2D):
    def call(self, x: Any) -> Any:
        y = tf.nn.conv2d(x, self.rounded_kernel(), self.strides, self.padding.upper())
        return tf.nn.bias_add(y, self.bias)


class _Depthwise(_Rounded, keras.layers.DepthwiseConv2D):
    channels = 2

    def call(self, x: Any) -> Any:
        y = tf.nn.depthwise_conv2d(x, self.rounded_kernel(), (1, *self.strides, 1), self.padding.upper())
        return tf.nn.bias_add(y, self.bias)


class _Dense(_Rounded, keras.layers.Dense):
    channels = None

    def call(self, x: Any) -> Any:
        y = tf.matmul(x, self.rounded_kernel())
        return tf.nn.bias_add(y, self.bias) if self.use_bias else y


TWINS = {keras.layers.Conv2D: _Conv, keras.layers.DepthwiseConv2D: _Depthwise, keras.layers.Dense: _Dense}
