"""The kernels that a level uses: what weight decay acts on."""

from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.sliceable import SliceableLayer
from ds_keras.core.visitor import Shapes
from ds_keras.models.supernet import Supernet


def active_kernels(model: Supernet, level: int) -> list[tf.Tensor]:
    """The active slices of a level's kernels, in float32: not of biases, norms or position embeddings.

    Args:
        model: supernet.
        level: slice level.

    Returns:
        Tensors through which gradients flow.
    """
    visitor = _ActiveKernels(level)
    model.logits(visitor, model.input_shape)
    return visitor.kernels


class _ActiveKernels(Shapes):
    """Collects them."""

    level: int

    def __init__(self, level: int):
        super().__init__(level)
        self.kernels: list[tf.Tensor] = []

    def visit(self, layer: keras.layers.Layer, shape: Any) -> None:
        if isinstance(layer, SliceableLayer):
            names = [name for name, _ in layer.weight_slices(shape, self.level)]
            slices = layer.active_weights(shape, self.level)
            self.kernels += [w for name, w in zip(names, slices, strict=True) if name.endswith("kernel")]
