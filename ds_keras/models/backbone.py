"""A supernet at one level as a Keras model that gives its features at every stride: what other heads are built on."""

import functools
from typing import Any

import keras

from ds_keras.core import cost
from ds_keras.core.network import Features, shared_config
from ds_keras.models.supernet import Supernet


@keras.saving.register_keras_serializable("ds_keras")
class Backbone(keras.Model):
    """The features of a supernet at one level, as a functional Keras model.

    For heads of one's own, and for the detectors and segmenters of libraries that read ``pyramid_outputs``, such as
    keras-hub's. It is the supernet itself, not a copy: training it trains the slices of the level, and a ``Backbone``
    of another level on the same supernet shares them. Keras saves and loads it, alone or inside another model, with all
    of the supernet's weights.

    Args:
        network: the supernet; its classifier and gate stay unused.
        level: int or ``SliceLevel``; default the largest.
        input_shape: of one image, in the order of ``data_format``; default the network's. (None, None, 3) takes images
            of every size, where the network does: all but ``DSViT``.
        data_format: "channels_last" or "channels_first", of images and features; default Keras' own,
            ``keras.config.image_data_format()``. The network computes with channels last either way.
        name: of the model.
        trainable: False freezes the network, its BatchNorm statistics too.

    Call:
        (batch, height, width, channels) images in [0, 255]: the network normalises them itself. Returns {"P2":
        features at stride 4, "P3": at stride 8, ...}, for every stride of the network that is a power of two.

    Attributes:
        pyramid_outputs: what it gives, as Keras' symbolic tensors.
        strides: {"P2": 4, ...}.
        channels: {"P2": ..., ...} at the level.
        madds: multiply-adds of one image of the network's ``input_shape``.
        network: the supernet.
        level: as an int.

    Raises:
        ValueError: no supernet, no such level, or another ``data_format``.

    Source: the names of the strides are those of feature pyramid networks, arXiv 1612.03144.

    Example:
        >>> backbone = ds_keras.models.Backbone(ds_keras.zoo.load("ds_mobilenet"), level=0)
        >>> x = keras.layers.Conv2D(21, 1)(backbone.pyramid_outputs["P4"])
        >>> segmenter = keras.Model(backbone.inputs, x)
    """

    def __init__(
        self,
        network: Supernet,
        level: Any = None,
        input_shape: Any = None,
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        if not isinstance(network, Supernet):
            raise ValueError(f"network must be a supernet, received {type(network).__name__}")
        data_format = keras.config.image_data_format() if data_format is None else data_format
        if data_format not in ("channels_last", "channels_first"):
            raise ValueError(f"data_format must be 'channels_last' or 'channels_first', received {data_format!r}")
        level = network.static_level(network.levels[-1] if level is None else level)
        first, name = data_format == "channels_first", f"{network.name}_level{level}" if name is None else name
        height, width, channels = network.image_shape
        if input_shape is None:
            input_shape = (channels, height, width) if first else network.image_shape
        inputs = x = keras.Input(input_shape, name="images")
        if first:
            x = keras.layers.Permute((2, 3, 1), name="channels_last")(x)
        found = Features(network, level, name=network.name)(x)
        if first:
            found = {k: keras.layers.Permute((3, 1, 2), name=f"channels_first{k}")(y) for k, y in found.items()}
        strides = {f"P{k.bit_length() - 1}": k for k in sorted(found) if not k & (k - 1)}
        outputs = {key: found[stride] for key, stride in strides.items()}
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        # Past Keras, which would track the network a second time, and wrap the dicts.
        given = {"input_shape": list(input_shape), "data_format": data_format}
        self.__dict__.update(network=network, level=level, strides=strides, pyramid_outputs=outputs, _given=given)
        if not trainable:
            self.trainable = False

    @property
    def channels(self) -> dict[str, int]:
        """Of the features at the level."""
        shapes = self.network.feature_shapes(self.level)
        return {key: shapes[stride][-1] for key, stride in self.strides.items()}

    @functools.cached_property
    def madds(self) -> int:
        """Multiply-adds of one image of the network's ``input_shape``."""
        return cost.features(self.network, self.level)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, the network's own included."""
        network = shared_config(self.network)
        return {"network": network, "level": self.level, **self._given, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Backbone":
        """A backbone of its config, with new weights."""
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"], custom_objects)})
