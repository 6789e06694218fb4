"""A kernel slice that a level uses: its numbers and its int8 codes, in the order of axes that TFLite has."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from ds_keras.core.sliceable import SliceableLayer
from ds_keras.quantization.codes import code_worth, kernel_codes, slice_scale
from ds_keras.runtime.materialize import scaled

AXES = {4: (3, 0, 1, 2), 2: (1, 0)}  # of Keras' kernels in TFLite's order: outputs first (depthwise: 1, h, w, c)
DTYPES = {None: "float32", "float16": "float16", "dynamic_int8": "int8", "int8": "int8"}  # of kernels, by quantization


@dataclass
class Kernel:
    """A kernel slice that a level uses, and what folds into it.

    Args:
        layer: that holds it.
        name: attribute of the layer.
        sizes: active sizes, in Keras' order of axes.
        factor: (output channels,) float32 of the BatchNorm behind, or None.
        visit: of its layer, from 0, where each has a kernel of its own: int8 codes hold the signs of the factor.
    """

    layer: SliceableLayer
    name: str
    sizes: tuple[int, ...]
    factor: np.ndarray | None = None
    visit: int = 0

    @property
    def key(self) -> str:
        """Unique in the network."""
        return f"{self.layer.name}/{self.name}" + (f"@{self.visit}" if self.visit else "")

    @property
    def depthwise(self) -> bool:
        """Whether the output channels are the third axis and not the last."""
        return self.layer.kernel_axis == 2

    @property
    def axis(self) -> int:
        """Of the output channels in TFLite's order: they come first, but for depthwise kernels (1, h, w, c)."""
        return 3 if self.depthwise else 0

    def shared(self, quantization: str | None) -> bool:
        """Whether a bundle stores it once for all levels: not where it stays float among int8 kernels."""
        return not (quantization == "dynamic_int8" and self.depthwise)

    def stored(self, quantization: str | None, sizes: Sequence[int] | None = None) -> np.ndarray:
        """The part of these sizes as a bundle stores it: unfolded numbers, or int8 codes.

        A negative BatchNorm factor, whose sign no level changes, is taken into the codes; a factor of 0 makes them 0.

        Args:
            quantization: None, "float16", "dynamic_int8" or "int8".
            sizes: in Keras' order; default the level's.

        Returns:
            The array, in TFLite's order of axes.
        """
        values = keras.ops.convert_to_numpy(self.layer.active_slice(self.name, sizes or self.sizes))
        if DTYPES[quantization] == "int8":
            axis = self._code_axis(quantization)
            values = kernel_codes(values, self._scale(axis, values.shape), axis, self.factor)
        values = values.astype(DTYPES[quantization])
        return np.ascontiguousarray(values.transpose(AXES[values.ndim]))

    def used(self, quantization: str | None) -> np.ndarray:
        """The slice as the level's file has it: folded numbers, or the stored codes."""
        if DTYPES[quantization] == "int8":
            return self.stored(quantization)
        return scaled(self.stored(None), self.factor, self.axis).astype(DTYPES[quantization])

    def code_scale(self, quantization: str) -> np.ndarray:
        """What a code is worth at the level, BatchNorm included.

        Args:
            quantization: "dynamic_int8" or "int8".

        Returns:
            (output channels,) float32; () where the whole kernel has one scale. Above 0.
        """
        return code_worth(self._scale(self._code_axis(quantization), self.sizes), self.factor)

    def _code_axis(self, quantization: str | None) -> int | None:
        """In Keras' order. The converter takes a scale for each unit of a dense layer from the float file only."""
        return self.layer.kernel_axis if quantization == "int8" else len(self.sizes) - 1

    def _scale(self, axis: int | None, sizes: Sequence[int]) -> np.ndarray:
        return slice_scale(getattr(self.layer, self.name), axis, sizes)


def stored_shapes(kernels: Sequence[Kernel]) -> dict[str, tuple[int, ...]]:
    """The smallest shape that holds every level's slice of each kernel, in Keras' order, by key."""
    shapes: dict[str, tuple[int, ...]] = {}
    for kernel in kernels:
        shapes[kernel.key] = tuple(np.maximum(kernel.sizes, shapes.get(kernel.key, kernel.sizes)).tolist())
    return shapes


def payload(kernels: Sequence[Kernel], quantization: str | None) -> dict[str, np.ndarray]:
    """Every kernel once, unfolded, in TFLite's order of axes, as wide as any file uses it.

    Args:
        kernels: of all files.
        quantization: of the bundle.

    Returns:
        Arrays by key.
    """
    shapes, unique = stored_shapes(kernels), {kernel.key: kernel for kernel in kernels if kernel.shared(quantization)}
    return {key: kernel.stored(quantization, shapes[key]) for key, kernel in unique.items()}
