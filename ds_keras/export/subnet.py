"""A level of a supernet as a plain Keras network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ds_keras.backend import dtype_policy
from ds_keras.layers.base import Shapes, SliceableLayer, Walk
from ds_keras.layers.depthwise import SliceableDepthwiseConv2D

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


@dataclass
class Kernel:
    """A kernel slice that a level uses, and what folds into it.

    Args:
        layer: that holds it.
        name: attribute of the layer.
        sizes: active sizes, in Keras' order of axes.
        factor: (output channels,) float32 of the BatchNorm behind, or None.
    """

    layer: SliceableLayer
    name: str
    sizes: tuple[int, ...]
    factor: np.ndarray | None = None

    @property
    def key(self) -> str:
        """Unique in the network."""
        return f"{self.layer.name}/{self.name}"

    @property
    def axis(self) -> int:
        """Of the output channels in TFLite's order: they come first, but for depthwise kernels (1, h, w, c)."""
        return 3 if self.depthwise else 0

    @property
    def depthwise(self) -> bool:
        """Whether the output channels are the third axis and not the last."""
        return isinstance(self.layer, SliceableDepthwiseConv2D)


def subnet(model: "Supernet", level: Any, fold_batch_norm: bool = False) -> keras.Model:
    """The functional model of plain ``keras.layers`` that holds one level's slices.

    Args:
        model: supernet.
        level: int, or a ``SliceLevel`` of the model.
        fold_batch_norm: multiplies BatchNorm into the kernels (inference only; no BatchNormalization layer is left).

    Returns:
        A float32 ``keras.Model`` from (batch, height, width, channels) images in [0, 255] to (batch, classes) logits.
        It needs nothing of ds_keras, and has only the weights that the level uses.

    Raises:
        ValueError: the model has no such level.

    Source: DS-Net, arXiv 2103.13258, section 3.1: a sub-network is a slice of the supernet.

    Example:
        >>> small = subnet(model, 0)
        >>> small.save("small.keras")
    """
    model.build()
    index = model.static_level(level)
    images = keras.Input(model.image_shape, name="images")
    with dtype_policy("float32"):
        logits = model.logits(_Plain(index, fold_batch_norm), images)
    return keras.Model(images, logits, name=f"{model.name}_level{index}")


def route_network(model: "Supernet", fold_batch_norm: bool = False) -> keras.Model:
    """The shared start and the gate as a plain Keras network.

    Args:
        model: supernet.
        fold_batch_norm: as in ``subnet``.

    Returns:
        A ``keras.Model`` from images in [0, 255] to {"features": what every ``body_network`` reads, "gate": (batch,
        levels) gate logits without the budget shift}.

    Example:
        >>> route_network(model)(images)["gate"].argmax(-1)
    """
    model.build()
    images, walk = keras.Input(model.image_shape, name="images"), _Plain(0, fold_batch_norm)
    with dtype_policy("float32"):
        features, gate_features = model.start(walk, images)
        gate = model.gate(walk, gate_features)
    return keras.Model(images, {"features": features, "gate": gate}, name=f"{model.name}_route")


def body_network(model: "Supernet", level: Any) -> keras.Model:
    """What a level runs after the shared start, as a plain Keras network.

    Args:
        model: supernet.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        A ``keras.Model`` from the features that ``route_network`` gives to (batch, classes) logits.

    Raises:
        ValueError: the model has no such level.

    Example:
        >>> body_network(model, 0)(route_network(model)(images)["features"])
    """
    return _body(model, level, fold=False)[0]


def folded_body(model: "Supernet", level: Any) -> tuple[keras.Model, list[Kernel]]:
    """``body_network`` with BatchNorm multiplied into the kernels, and the kernels that it is made of.

    Args:
        model: supernet.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        The network, and its ``Kernel``s: each weight of rank 2 or 4, as float32 slice x float32 factor.

    Raises:
        ValueError: the model has no such level.
    """
    return _body(model, level, fold=True)


def _body(model: "Supernet", level: Any, fold: bool) -> tuple[keras.Model, list[Kernel]]:
    model.build()
    index = model.static_level(level)
    shape, _ = model.start(Shapes(index), model.input_shape)
    features = keras.Input(shape[1:], name="features")
    walk = _Plain(index, fold)
    with dtype_policy("float32"):
        logits = model.body(walk, features)
    return keras.Model(features, logits, name=f"{model.name}_body{index}"), walk.kernels


class _Plain(Walk):
    """Makes the plain twin of every layer, with the slices as its weights."""

    def __init__(self, level: int, fold: bool):
        super().__init__(level)
        self.fold = fold
        self.convolutions: dict[int, tuple[keras.layers.Layer, Kernel]] = {}  # by the id of what they return
        self.kernels: list[Kernel] = []

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The output of the plain twin of ``layer`` on the Keras tensor ``x``."""
        if isinstance(layer, keras.layers.Dropout):
            return x
        if not isinstance(layer, SliceableLayer):
            return type(layer).from_config({**layer.get_config(), "dtype": "float32"})(x)
        shape = [tuple(part.shape) for part in x] if isinstance(x, list) else tuple(x.shape)
        own = [Kernel(layer, name, sizes) for name, sizes in layer.weight_slices(shape, self.level) if len(sizes) > 1]
        self.kernels += own
        for twin, weights in layer.plain(shape, self.level, layer.name):
            convolution = isinstance(twin, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
            if self.fold and isinstance(twin, keras.layers.BatchNormalization):
                _fold(*self.convolutions[id(x)], twin.epsilon, weights)
                continue
            if self.fold and convolution and not twin.use_bias:
                twin.use_bias = True
                channels = weights[0].shape[2 if isinstance(twin, keras.layers.DepthwiseConv2D) else 3]
                weights = [*weights, np.zeros(channels, "float32")]
            x = twin(x)
            if weights:
                twin.set_weights(weights)
            if convolution:
                self.convolutions[id(x)] = twin, own[0]
        return x


def _fold(convolution: keras.layers.Layer, kernel: Kernel, epsilon: float, weights: list[np.ndarray]) -> None:
    """Multiplies a BatchNorm (gamma, beta, mean, variance) into the convolution before it."""
    gamma, beta, mean, variance = (np.asarray(w, "float64") for w in weights)
    values, bias = convolution.get_weights()
    factor = gamma / np.sqrt(variance + epsilon)
    # One float32 product for each weight, which a device repeats bit for bit: see ``runtime.materialize``.
    kernel.factor = factor.astype("float32")
    values = values * (kernel.factor[:, None] if kernel.depthwise else kernel.factor)
    convolution.set_weights([values, ((bias - mean) * factor + beta).astype("float32")])
