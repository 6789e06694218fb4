"""What decides: the layer that predicts a scale for each thing that may be skipped."""

import math
from typing import Any

import keras
import tensorflow as tf

SPEED = 4.0  # default gain: in steps of an optimizer that moves every weight alike, scales must get from 1 to 0
REACH = 0.5  # how far outside [0, 1] a gradient still moves what a predictor gives


@keras.saving.register_keras_serializable("ds_keras")
class ScalePredictor(keras.layers.Layer):
    """1 + gain x a linear layer on the mean of every channel; it begins as 1 for every image.

    What is done with the result is one of ``LIMITS``: the scale in [0, 1] of something that is skipped where it is 0.

    Args:
        units: things that may be skipped.
        gain: see above. With an optimizer that moves every weight alike, such as Adam, it is the learning rate of the
            predictors in relation to the network's.
        normalize: the means are standardized first (BatchNorm without scale and offset) and divided by the square root
            of their number, so that the kernel learns in what images differ, and the bias what they share.
        constant: reads nothing: a bias alone, the same for every image. For comparisons.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels).
        training: standardize by the batch's own statistics.
        Returns (batch, units) float32, not limited.

    Source: LC-Net, arXiv 2007.15151; all but the linear layer is ours.

    Example:
        >>> relu1(ScalePredictor(3)(tf.ones([2, 8, 8, 16])))
    """

    def __init__(self, units: int, gain: float = SPEED, normalize: bool = False, constant: bool = False, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.units, self.gain, self.constant = int(units), float(gain), bool(constant)
        self.norm: keras.layers.BatchNormalization | None = None
        if normalize and not constant:
            plain: dict[str, Any] = {"center": False, "scale": False, "momentum": 0.9, "epsilon": 1e-5}
            self.norm = keras.layers.BatchNormalization(**plain, name=f"{self.name}_norm", dtype="float32")

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        channels = int(input_shape[-1])
        if not self.constant:
            self.kernel = self.add_weight(name="kernel", shape=(channels, self.units), initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        if self.norm is not None:
            self.norm.build((None, channels))
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Predicts."""
        if self.constant:
            return tf.tile(1 + self.gain * tf.convert_to_tensor(self.bias)[None], [tf.shape(x)[0], 1])
        means = tf.reduce_mean(x, axis=(1, 2))
        if self.norm is not None:
            means = self.norm(means, training=training) / math.sqrt(means.shape[1])
        return 1 + self.gain * tf.nn.bias_add(means @ self.kernel, self.bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        own = {"units": self.units, "gain": self.gain, "normalize": self.norm is not None, "constant": self.constant}
        return {**super().get_config(), **own}


def relu1(z: tf.Tensor) -> tf.Tensor:
    """ReLU limited to [0, 1].

    Args:
        z: any tensor.

    Returns:
        The same shape.
    """
    return tf.clip_by_value(z, 0.0, 1.0)


def binary(z: tf.Tensor) -> tf.Tensor:
    """1 where z is positive, else 0; its gradient is z's own from -``REACH`` to 1 + ``REACH`` (straight-through).

    Args:
        z: any tensor.

    Returns:
        The same shape. Source of the gradient: arXiv 1308.3432.
    """
    near = tf.clip_by_value(z, -REACH, 1 + REACH)
    return tf.cast(z > 0, z.dtype) + (near - tf.stop_gradient(near))


LIMITS = {"relu1": relu1, "binary": binary}
