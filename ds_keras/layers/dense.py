"""A fully connected layer whose units are sliced."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.sliceable import Shape, SliceableLayer, input_channels


@keras.saving.register_keras_serializable("ds_keras")
class SliceableDense(SliceableLayer):
    """Dense layer that runs with the first rows and columns of its kernel.

    A classifier, whose output is never sliced, has ``sizes=[units] * number_of_levels``.

    Args:
        units: full output size.
        use_bias: adds a bias, sliced like the units.
        sizes: output size at every slice level, for calls with ``level=``.
        divisor: units made from a ratio are multiples of it.
        kernel_initializer: Keras initializer.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (..., features) float, features up to the built ones.
        slice_ratio: Python float or scalar tensor in (0, 1].
        level: int or scalar integer tensor, instead of the ratio.
        quantize: rounds the kernel to its int8 codes (see ``core.fake_quant``).
        Returns (..., ratio x units).

    Raises:
        ValueError: bad sizes, ratio, level or features.

    Source: DS-Net, arXiv 2103.13258, section 3.1 (classifier sliced on its inputs).

    Example:
        >>> dense = SliceableDense(10, sizes=[10, 10])
        >>> dense.build((None, 64))
        >>> dense(tf.ones([1, 16]), level=0).shape
        TensorShape([1, 10])
    """

    int8 = "kernel"

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        sizes: Sequence[int] | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(sizes=sizes, **kwargs)
        self._check_sizes(units, "units")
        self.units = int(units)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        """Creates the full kernel for ``input_shape[-1]`` features."""
        self.kernel = self.add_kernel("kernel", (int(input_shape[-1]), self.units), self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_kernel("bias", (self.units,), "zeros")
        self.built = True

    def call(
        self,
        x: tf.Tensor,
        slice_ratio: Any = None,
        level: Any = None,
        training: bool = False,
        quantize: bool = False,
    ) -> tf.Tensor:
        """Multiplies by the active slice."""
        units = self.output_size(self.units, slice_ratio, level)
        x = tf.cast(x, self.compute_dtype)
        kernel = self.cut_kernel([input_channels(self, x, self.kernel.shape[0]), units], quantize)
        y = tf.matmul(x, kernel) if x.shape.rank == 2 else tf.tensordot(x, kernel, 1)
        return y + self.cut(self.bias, [units]) if self.use_bias else y

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (*input_shape[:-1], self.size_at(level))

    def madds_at(self, input_shape: Shape, level: int) -> int:
        """Inputs x outputs, for every position."""
        positions = 1
        for size in input_shape[1:-1]:
            positions *= size
        return positions * input_shape[-1] * self.size_at(level)

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        units = self.size_at(level)
        kernel = ("kernel", (input_shape[-1], units))
        return [kernel, ("bias", (units,))] if self.use_bias else [kernel]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.Dense``."""
        layer = keras.layers.Dense(self.size_at(level), use_bias=self.use_bias, name=name)
        return [(layer, self.numpy_weights(input_shape, level))]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
