"""Several feature maps as one tensor, and back: a file passes one tensor on to another."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from ds_keras.core.visitor import Visitor
from ds_keras.layers.tokens import Regrid


class JoinedMaps:
    """Layers that join feature maps, and that part them again; they have no weights.

    Args:
        shapes: (height, width, channels) of each map.
        name: begins the names of the layers.
        dtype: of the layers.

    Example:
        >>> maps = JoinedMaps([(8, 8, 16), (4, 4, 32)], "features", "float32")
        >>> maps.join(Compute(0), [tf.ones([1, 8, 8, 16]), tf.ones([1, 4, 4, 32])]).shape
        TensorShape([1, 1536, 1])
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], name: str, dtype: Any):
        sizes, end = [math.prod(shape) for shape in shapes], 0
        total = sum(sizes)
        self.flat = [Regrid((size, 1), name=f"{name}_flat{i}", dtype=dtype) for i, size in enumerate(sizes)]
        self.concat = keras.layers.Concatenate(axis=1, name=f"{name}_join", dtype=dtype)
        self.parts: list[tuple[Any, Any]] = []
        for i, (shape, size) in enumerate(zip(shapes, sizes, strict=True)):
            cut = keras.layers.Cropping1D((end, total - end - size), name=f"{name}_cut{i}", dtype=dtype)
            self.parts.append((cut, Regrid(shape, name=f"{name}_map{i}", dtype=dtype)))
            end += size
        for layer in (*self.flat, *(grid for _, grid in self.parts)):
            layer.int8 = "same scale"

    def join(self, visitor: Visitor, maps: Sequence[Any]) -> Any:
        """The maps as one tensor (batch, numbers, 1)."""
        return visitor(self.concat, [visitor(flat, x) for flat, x in zip(self.flat, maps, strict=True)])

    def part(self, visitor: Visitor, joined: Any) -> list[Any]:
        """The maps of such a tensor."""
        return [visitor(grid, visitor(cut, joined)) for cut, grid in self.parts]
