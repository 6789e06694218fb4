"""Multiply-adds and parameters of a slice level, counted from the architecture: no tracing, no weights.

Convention (``papers.md`` of DS-Net's released figures): a convolution is cin x cout x kernel area x output area /
groups, a linear layer in x out, an average pool its input's size, squeeze-and-excitation is counted; BatchNorm,
activations and elementwise work count 0. One image.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from ds_keras.core.levels import require_levels
from ds_keras.core.sliceable import SliceableLayer
from ds_keras.core.visitor import Shapes

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


_FREE = (keras.layers.BatchNormalization, keras.layers.LayerNormalization, keras.layers.Embedding)
AVERAGE_POOLS = (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D)


class Parts(NamedTuple):
    """Multiply-adds of the parts that routing runs: the shared start, the gate, and the body of one level."""

    start: int
    gate: int
    body: int


class _Count(Shapes):
    def __init__(self, level: int):
        super().__init__(level)
        self.madds = 0
        self.params = 0
        self.seen: set[int] = set()  # a layer may be visited again, with the same weights

    def visit(self, layer: keras.layers.Layer, shape: Any) -> None:
        if isinstance(layer, SliceableLayer):
            self.madds += layer.madds_at(shape, self.level)
            self.params += 0 if id(layer) in self.seen else layer.params_at(shape, self.level)
            self.seen.add(id(layer))
        elif isinstance(layer, AVERAGE_POOLS):
            self.madds += int(np.prod(shape[1:]))


def parts(model: "Supernet", level: Any) -> Parts:
    """Multiply-adds of the shared start, the gate and the body, for one image at ``level``.

    Args:
        model: supernet, built or not.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        ``Parts(start, gate, body)``; a fixed level costs start + body, a gated image start + gate + body.

    Raises:
        ValueError: the model has no such level, or no levels.
    """
    require_levels(model)
    level = model.static_level(level)
    counts = []
    visitor = _Count(level)
    features, gate_features = model.start(visitor, model.input_shape)
    counts.append(visitor.madds)
    visitor = _Count(level)
    model.gate(visitor, gate_features)
    counts.append(visitor.madds)
    visitor = _Count(level)
    model.body(visitor, features)
    counts.append(visitor.madds)
    return Parts(*counts)


def madds(model: "Supernet", level: Any) -> int:
    """Multiply-adds of one level for one image at the model's ``input_shape``, without the slimming head.

    Args:
        model: supernet, built or not.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        int.

    Raises:
        ValueError: the model has no such level.

    Example:
        >>> round(ds_keras.cost.madds(ds_keras.models.DSMobileNet.imagenet(), 0) / 1e6, 1)
        132.9
    """
    start, _, body = parts(model, level)
    return start + body


def features(model: "Supernet", level: Any) -> int:
    """Multiply-adds of ``model.features`` at one level, for one image at the model's ``input_shape``.

    Args:
        model: supernet, built or not.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        int.

    Raises:
        ValueError: the model has no such level, or no levels.
    """
    require_levels(model)
    visitor = _Count(model.static_level(level))
    model.endpoints(visitor, model.input_shape)
    return visitor.madds


def params(model: "Supernet", level: Any) -> int:
    """Trainable weights that one level uses, without the slimming head.

    Args:
        model: supernet, built or not.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        int.

    Raises:
        ValueError: the model has no such level, or no levels.
    """
    require_levels(model)
    visitor = _Count(model.static_level(level))
    features, _ = model.start(visitor, model.input_shape)
    model.body(visitor, features)
    return visitor.params


def count_plain(model: keras.Model) -> tuple[int, int]:
    """Counts a functional model of plain Keras layers by the same convention, from its layers' own shapes.

    Args:
        model: as ``export.subnet`` returns it.

    Returns:
        Multiply-adds for one image, and trainable parameters.

    Raises:
        ValueError: a layer with weights has no rule here.
    """
    total = 0
    for layer in model.operations:
        if isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.Conv2D):
            total += int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
        elif isinstance(layer, AVERAGE_POOLS):
            total += int(np.prod(layer.input.shape[1:]))
        elif type(layer).__name__ == "Matmul":  # of an attention: keras.ops.matmul as a node
            total += int(np.prod(layer.output.shape[1:])) * layer.input[0].shape[-1]
        elif getattr(layer, "weights", ()) and not isinstance(layer, _FREE):
            raise ValueError(f"no rule to count {type(layer).__name__} {layer.name!r}")
    return total, sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
