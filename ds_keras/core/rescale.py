"""Normalises images, whatever image format is set in Keras."""

from typing import Any

import keras
import numpy as np

CHANNELS_LAST = {"data_format": "channels_last"}  # for every layer of Keras that would ask the process' setting


class Rescale(keras.layers.Rescaling):
    """``keras.layers.Rescaling`` of images whose channels are last.

    Keras' own layer asks ``keras.config.image_data_format()`` in every call, and turns the channels if that is
    "channels_first".

    Args:
        scale: float, or one for each channel.
        offset: likewise.
        **kwargs: of ``keras.layers.Layer``.

    Example:
        >>> Rescale([1 / 58, 1 / 57, 1 / 57], -2.0)(tf.ones([1, 8, 8, 3])).shape
        TensorShape([1, 8, 8, 3])
    """

    def call(self, inputs: Any) -> Any:
        """Scale * x + offset."""
        dtype = self.compute_dtype
        scale, offset = self.backend.cast(self.scale, dtype), self.backend.cast(self.offset, dtype)
        return self.backend.cast(inputs, dtype) * scale + offset

    def plain(self) -> keras.layers.Rescaling:
        """Keras' own layer, which computes the same under the image format that is set."""
        scale, offset = self.scale, self.offset
        if keras.config.image_data_format() != "channels_last":  # values of rank 3 are left as they are
            scale, offset = (np.reshape(value, (1, 1, -1)).tolist() for value in (scale, offset))
        return keras.layers.Rescaling(scale, offset, name=self.name, dtype="float32")
