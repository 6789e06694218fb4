"""What decides: the layer that predicts a scale for each thing that may be skipped."""

from typing import Any

import keras
import tensorflow as tf

SPEED = 4.0  # in steps of an optimizer that moves every weight alike, as Adam, scales must get from 1 to 0


@keras.saving.register_keras_serializable("ds_keras")
class ScalePredictor(keras.layers.Layer):
    """1 + ``SPEED`` x a linear layer on the mean of every channel; it begins as 1 for every image.

    ``relu1`` of it is the scale of something that is skipped where that is 0.

    Args:
        units: things that may be skipped.
        constant: reads nothing: a bias alone, the same for every image. For comparisons.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels).
        Returns (batch, units) float32, not limited.

    Source: LC-Net, arXiv 2007.15151; all but the linear layer is ours.

    Example:
        >>> relu1(ScalePredictor(3)(tf.ones([2, 8, 8, 16])))
    """

    def __init__(self, units: int, constant: bool = False, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.units, self.constant = int(units), bool(constant)

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        if not self.constant:
            shape = (int(input_shape[-1]), self.units)
            self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Predicts."""
        if self.constant:
            return tf.tile(1 + SPEED * tf.convert_to_tensor(self.bias)[None], [tf.shape(x)[0], 1])
        return 1 + SPEED * tf.nn.bias_add(tf.reduce_mean(x, axis=(1, 2)) @ self.kernel, self.bias)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "units": self.units, "constant": self.constant}


def relu1(z: tf.Tensor) -> tf.Tensor:
    """ReLU limited to [0, 1].

    Args:
        z: any tensor.

    Returns:
        The same shape.
    """
    return tf.clip_by_value(z, 0.0, 1.0)
