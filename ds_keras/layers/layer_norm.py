"""Layer normalisation over the active slice."""

from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.levels import slice_kernel
from ds_keras.core.sliceable import Shape, SliceableLayer


@keras.saving.register_keras_serializable("ds_keras")
class SliceableLayerNormalization(SliceableLayer):
    """LayerNorm over the features that ``x`` has: mean and variance are the active slice's own, computed in float32.

    It keeps the size of ``x``, with which ``slice_ratio`` or ``level`` must agree.

    Args:
        sizes: features at every slice level, for calls with ``level=``.
        epsilon: added to the variance.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (..., features) float.
        slice_ratio: Python float or scalar tensor in (0, 1].
        level: int or scalar integer tensor, instead of the ratio.
        Returns the shape of ``x``.

    Raises:
        ValueError: more features than built, or a ratio or level that asks for another number.

    Source: DS-Net++, arXiv 2109.10060; normalising the active slice is our reading.

    Example:
        >>> norm = SliceableLayerNormalization()
        >>> norm.build((None, 64, 192))
        >>> norm(tf.ones([1, 64, 96]), slice_ratio=0.5).shape
        TensorShape([1, 64, 96])
    """

    def __init__(self, sizes: Any = None, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(sizes=sizes, **kwargs)
        self.epsilon = float(epsilon)

    def build(self, input_shape: Shape) -> None:
        """Creates the full affine."""
        features = int(input_shape[-1])
        self._check_sizes(features, "features")
        self.gamma = self.add_kernel("gamma", (features,), "ones")
        self.beta = self.add_kernel("beta", (features,), "zeros")
        self.built = True

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Normalises ``x``."""
        features = self.same_size(x, self.gamma.shape[0], slice_ratio, level)
        x = tf.cast(x, tf.float32)
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        scale = tf.math.rsqrt(variance + self.epsilon) * slice_kernel(self.gamma, [features])
        return tf.cast((x - mean) * scale + slice_kernel(self.beta, [features]), self.compute_dtype)

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return tuple(input_shape)

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        return [("gamma", (input_shape[-1],)), ("beta", (input_shape[-1],))]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.LayerNormalization``."""
        layer = keras.layers.LayerNormalization(epsilon=self.epsilon, name=name)
        return [(layer, self.numpy_weights(input_shape, level))]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
