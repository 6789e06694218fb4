"""A level of a supernet as a plain Keras network."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ds_keras.core.backend import dtype_policy
from ds_keras.core.sliceable import SliceableLayer
from ds_keras.core.visitor import Shapes, Visitor
from ds_keras.export.kernel import Kernel

if TYPE_CHECKING:
    from ds_keras.core.network import SliceableNetwork


def subnet(model: "SliceableNetwork", level: Any, fold_batch_norm: bool = False) -> keras.Model:
    """The functional model of plain ``keras.layers`` that holds one level's slices.

    Args:
        model: supernet.
        level: int, or a ``SliceLevel`` of the model.
        fold_batch_norm: multiplies BatchNorm into the kernels (inference only; no BatchNormalization layer is left).

    Returns:
        A float32 ``keras.Model`` from (batch, height, width, channels) images in [0, 255] to (batch, classes) logits;
        of a detector to {"boxes", "scores"}, see ``ds_keras.detection.DSDetector.results``. It needs nothing of
        ds_keras, and has only the weights that the level uses.

    Raises:
        ValueError: the model has no such level.

    Source: DS-Net, arXiv 2103.13258, section 3.1: a sub-network is a slice of the supernet.

    Example:
        >>> small = subnet(model, 0)
        >>> small.save("small.keras")
    """
    return assemble(model, Plain(model.static_level(level), fold_batch_norm), "whole")


def route_network(model: "SliceableNetwork", fold_batch_norm: bool = False) -> keras.Model:
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
    return assemble(model, Plain(0, fold_batch_norm), "route")


def body_network(model: "SliceableNetwork", level: Any) -> keras.Model:
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
    return assemble(model, Plain(model.static_level(level)), "body")


def folded_body(model: "SliceableNetwork", level: Any) -> tuple[keras.Model, list[Kernel]]:
    """``body_network`` with BatchNorm multiplied into the kernels, and the kernels that it is made of.

    Args:
        model: supernet.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        The network, and its ``Kernel``s: each weight of rank 2 or 4, as float32 slice x float32 factor.

    Raises:
        ValueError: the model has no such level.
    """
    visitor = Plain(model.static_level(level), fold=True)
    return assemble(model, visitor, "body"), visitor.kernels


def assemble(model: "SliceableNetwork", visitor: "Plain", part: str) -> keras.Model:
    """A part of a level as a plain Keras network.

    Args:
        model: supernet.
        visitor: makes the layers; collects the kernels.
        part: "whole" (images to logits), "entry" (images to features and logits), "route" (images to features and gate)
            or "body" (features to logits).

    Returns:
        The network.
    """
    model.build()
    with dtype_policy("float32"):
        if part == "body":
            shapes = Shapes(visitor.level)
            shape = model.joined(shapes, model.start(shapes, model.input_shape)[0])
            source = keras.Input(shape[1:], name="features", dtype="float32")
            found = _results(model, visitor, visitor.border(source))
            return keras.Model(source, _alone(found), name=f"{model.name}_body{visitor.level}")
        images = keras.Input(model.image_shape, name="images", dtype="float32")
        features, gate_features = model.start(visitor, images)
        features = visitor.border(model.joined(visitor, features))
        if part == "route":
            outputs = {"features": features, "gate": visitor.output(model.gate(visitor, gate_features))}
            return keras.Model(images, outputs, name=f"{model.name}_route")
        found = _results(model, visitor, features)
        outputs = _alone(found) if part == "whole" else {"features": features, **found}
        return keras.Model(images, outputs, name=f"{model.name}_level{visitor.level}")


def _results(model: "SliceableNetwork", visitor: "Plain", joined: Any) -> dict[str, Any]:
    return model.results(visitor.output(model.body(visitor, model.parted(visitor, joined))))


def _alone(found: dict[str, Any]) -> Any:
    """The logits themselves where a network gives nothing else."""
    return found["logits"] if list(found) == ["logits"] else found


class Plain(Visitor):
    """Makes the plain twin of every layer, with the slices as its weights.

    Args:
        level: int.
        fold: multiplies BatchNorm into the kernels.
        apart: whether a layer that is visited again has kernels of its own there: see ``Kernel.visit``.
    """

    level: int

    def __init__(self, level: int, fold: bool = False, apart: bool = False):
        super().__init__(level)
        self.fold, self.apart = fold, apart
        self.twins: list[tuple[keras.layers.Layer, Kernel]] = []  # those that hold a kernel
        self.convolutions: dict[int, tuple[keras.layers.Layer, Kernel]] = {}  # by the id of what they return
        self.kernels: list[Kernel] = []
        self.visited: dict[int, list[list[Any]]] = {}  # by the id of a layer: its twins, of each visit

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The output of the plain twin of ``layer`` on the Keras tensor ``x``.

        A layer that is visited again gives its twin again; where BatchNorm is folded in a new one, for what is folded
        in may differ.
        """
        if isinstance(layer, keras.layers.Dropout):
            return x
        visits = self.visited.setdefault(id(layer), [])
        if visits and not self.fold:
            for twin in visits[0]:
                x = twin(x)
            return x
        name = f"{layer.name}_{len(visits)}" if visits else layer.name
        visits.append([])
        if not isinstance(layer, SliceableLayer):
            own_plain = hasattr(layer, "plain")
            twin = layer.plain() if own_plain else type(layer).from_config({**layer.get_config(), "dtype": "float32"})
            visits[-1].append(self.plain(twin))
            return visits[-1][-1](x)
        shape: Any = [tuple(part.shape) for part in x] if isinstance(x, list) else tuple(x.shape)
        visit, slices = len(visits) - 1 if self.apart else 0, layer.weight_slices(shape, self.level)
        own = [Kernel(layer, kernel, sizes, visit=visit) for kernel, sizes in slices if len(sizes) > 1]
        self.kernels += own
        for twin, weights in layer.plain(shape, self.level, name):
            convolution = isinstance(twin, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
            if self.fold and isinstance(twin, keras.layers.BatchNormalization):
                _fold(*self.convolutions[id(x)], twin.epsilon, weights)
                continue
            if self.fold and convolution and not twin.use_bias:
                twin.use_bias = True
                channels = weights[0].shape[2 if isinstance(twin, keras.layers.DepthwiseConv2D) else 3]
                weights = [*weights, np.zeros(channels, "float32")]
            twin = self.plain(twin)
            visits[-1].append(twin)
            x = twin(x)
            if weights:
                twin.set_weights([*weights, *twin.get_weights()[len(weights) :]])
            if convolution:
                self.convolutions[id(x)] = twin, own[0]
            if weights and len(own) == 1:
                self.twins.append((twin, own[0]))
        return x

    def border(self, features: Any) -> Any:
        """The features at the border between the shared start and the body."""
        return features

    def output(self, y: Any) -> Any:
        """What the network returns."""
        return y

    def plain(self, twin: keras.layers.Layer) -> Any:
        """The layer that takes a plain twin's place: the twin itself."""
        return twin


def _fold(convolution: keras.layers.Layer, kernel: Kernel, epsilon: float, weights: list[np.ndarray]) -> None:
    """Multiplies a BatchNorm (gamma, beta, mean, variance) into the convolution before it."""
    gamma, beta, mean, variance = (np.asarray(w, "float64") for w in weights)
    values, bias, *rest = convolution.get_weights()
    factor = gamma / np.sqrt(variance + epsilon)
    # One float32 product for each weight, which a device repeats bit for bit: see ``runtime.materialize``.
    kernel.factor = factor.astype("float32")
    values = values * (kernel.factor[:, None] if kernel.depthwise else kernel.factor)
    convolution.set_weights([values, ((bias - mean) * factor + beta).astype("float32"), *rest])
