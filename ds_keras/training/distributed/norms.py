"""The BatchNorm layers of a network that several replicas train."""

import tensorflow as tf

from ds_keras.core.backend import mean_over_replicas, replicas
from ds_keras.core.image_model import ImageModel
from ds_keras.layers.batch_norm import SliceableBatchNormalization


class Norms:
    """Keeps BatchNorm's moving averages alike on all replicas.

    Args:
        network: built.
        synchronized: whether replicas share the statistics of a batch.
    """

    def __init__(self, network: ImageModel, synchronized: bool):
        self.layers = [part for part in network._flatten_layers() if isinstance(part, SliceableBatchNormalization)]
        self.synchronized = synchronized
        self.depth_varies = any(getattr(part, "first_level", 0) for part in network._flatten_layers())
        for layer in self.layers:
            layer.synchronized = synchronized

    def check_drawn(self) -> None:
        """Refuses drawn levels where a level may lack blocks: replicas cannot meet in a condition.

        Raises:
            ValueError: see above.
        """
        if self.synchronized and self.depth_varies and replicas() > 1:
            raise ValueError(
                "num_random must be None, or synchronized=False, on several replicas where smaller levels lack blocks"
            )

    def average(self) -> None:
        """Averages the moving averages over replicas, in one reduction, where each has moved its own."""
        if self.synchronized or replicas() == 1 or not self.layers:
            return
        variables = [v for layer in self.layers for v in (layer.moving_mean, layer.moving_variance)]
        flat = mean_over_replicas(tf.concat([tf.reshape(v, [-1]) for v in variables], axis=0))
        parts = tf.split(flat, [int(tf.TensorShape(v.shape).num_elements()) for v in variables])
        for variable, part in zip(variables, parts, strict=True):
            variable.assign(tf.reshape(part, variable.shape))
