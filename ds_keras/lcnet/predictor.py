"""What LC-Net asks of an image before a block: a scale for the block, and for each group of its channels."""

from typing import Any

import keras
import tensorflow as tf

SPEED = 4.0  # of the scales, in steps of an optimizer that moves every weight alike: they must get from 1 to 0


@keras.saving.register_keras_serializable("ds_keras")
class ScalePredictor(keras.layers.Layer):
    """1 + 4 x a linear layer on the mean of every channel; it begins as 1 for every image.

    What is done with the result is ``relu1``: the scale in [0, 1] of something that is skipped where it is 0.

    Args:
        units: things that may be skipped.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels).
        Returns (batch, units) float32, not limited.

    Source: LC-Net, arXiv 2007.15151; the beginning as 1 and the factor are ours.

    Example:
        >>> relu1(ScalePredictor(3)(tf.ones([2, 8, 8, 16])))
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.units = int(units)

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        self.kernel = self.add_weight(name="kernel", shape=(int(input_shape[-1]), self.units), initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Predicts."""
        return 1 + SPEED * tf.nn.bias_add(tf.reduce_mean(x, axis=(1, 2)) @ self.kernel, self.bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "units": self.units}


def relu1(z: tf.Tensor) -> tf.Tensor:
    """ReLU limited to [0, 1].

    Args:
        z: any tensor.

    Returns:
        The same shape.
    """
    return tf.clip_by_value(z, 0.0, 1.0)
