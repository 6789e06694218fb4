"""A level's body as a template and a copy plan: its graph without kernels, and where they come from.

``pack`` makes both; ``runtime.materialize`` puts the kernels back, on a device or here: the files of a bundle's
levels and those of ``to_tflite(part="body")`` come from that one function.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from ds_keras.export.litert import convert, repacked, unpacked
from ds_keras.export.metadata import About, about, describe, tail
from ds_keras.export.subnet import Kernel, folded_body
from ds_keras.runtime.materialize import ALIGNMENT, Copy, Template, materialize, scaled

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

SMALLEST = 128  # bytes of a constant that is worth an entry of the plan
AXES = {4: (3, 0, 1, 2), 2: (1, 0)}  # of Keras' kernels in TFLite's order: outputs first (depthwise: 1, h, w, c)


def pack(
    network: keras.Model,
    kernels: Sequence[Kernel],
    quantization: str | None,
    stored: dict[str, tuple[int, ...]],
    metadata: About,
) -> Template:
    """Converts a level's body and takes its kernels out.

    Args:
        network: the folded body (see ``folded_body``).
        kernels: what it is made of.
        quantization: None, or "float16": kernels, which must be half-precision numbers already, are stored as such.
        stored: shape of every kernel in the payload: see ``stored_shapes``.
        metadata: of the file.

    Returns:
        The level's ``Template``.
    """
    data = convert(network, quantization)
    dtype, known = quantization or "float32", {}
    for kernel in kernels:
        values = scaled(_packed(kernel, kernel.sizes), kernel.factor, kernel.axis)
        known.setdefault(values.astype(dtype).tobytes(), []).append(kernel)
    graph = unpacked(data)
    describe(graph, metadata)
    taken = []
    for buffer in graph.buffers:
        if buffer.data is not None and len(buffer.data) >= SMALLEST:
            equal = known.get(np.asarray(buffer.data, np.uint8).tobytes())
            if equal:  # each kernel once, where several have the same values
                taken.append((buffer, equal.pop(), len(buffer.data)))
    for buffer, _, size in taken:
        buffer.data, buffer.offset, buffer.size = None, 2, size  # any offset above 1: the length does not depend on it
    end = len(repacked(graph))
    copies, factors = [], np.zeros(0, "float32")
    for buffer, kernel, size in taken:
        buffer.offset = end = -(-end // ALIGNMENT) * ALIGNMENT
        shape = tuple(kernel.sizes[axis] for axis in AXES[len(kernel.sizes)])
        begin = _begin(kernel, stored[kernel.key])
        factor = None if kernel.factor is None else len(factors)
        copies.append(Copy(kernel.key, begin, shape, kernel.axis, factor, end))
        if kernel.factor is not None:
            factors = np.concatenate([factors, kernel.factor])
        end += size
    files = tail(metadata, end)
    return Template(repacked(graph), tuple(copies), factors, files, end + len(files))


def materialized(model: "Supernet", level: int, quantization: str | None, licence: str | None = None) -> bytes:
    """A level's body as a static TFLite file: byte for byte what a bundle of the model makes of its parts."""
    network, kernels = folded_body(model, level)
    template = pack(network, kernels, quantization, stored_shapes(kernels), about(model, "body", level, licence))
    return materialize(template, payload(kernels, quantization or "float32"))


def stored_shapes(kernels: Sequence[Kernel]) -> dict[str, tuple[int, ...]]:
    """The smallest shape that holds every level's slice of each kernel, in Keras' order, by key."""
    shapes = {}
    for kernel in kernels:
        shapes[kernel.key] = tuple(np.maximum(kernel.sizes, shapes.get(kernel.key, kernel.sizes)).tolist())
    return shapes


def payload(kernels: Sequence[Kernel], dtype: str) -> dict[str, np.ndarray]:
    """Every kernel once, unfolded, in TFLite's order of axes, as wide as any level uses it.

    Args:
        kernels: of all levels.
        dtype: "float32" or "float16".

    Returns:
        Arrays by key.
    """
    shapes, unique = stored_shapes(kernels), {kernel.key: kernel for kernel in kernels}
    return {key: _packed(kernel, shapes[key]).astype(dtype) for key, kernel in unique.items()}


def halved(model: "Supernet") -> "Supernet":
    """A copy of a model whose kernels are half-precision numbers (held as float32)."""
    twin = model.clone("float32")
    for variable in twin.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(keras.ops.convert_to_numpy(variable).astype("float16").astype("float32"))
    return twin


def _packed(kernel: Kernel, sizes: Sequence[int]) -> np.ndarray:
    """The part of these sizes of a kernel's weight, in TFLite's order of axes."""
    values = keras.ops.convert_to_numpy(kernel.layer.active_slice(kernel.name, sizes))
    return np.ascontiguousarray(values.transpose(AXES[values.ndim]))


def _begin(kernel: Kernel, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Where the slice begins in the stored kernel: the origin, but for a kernel's centre crop."""
    full, begin = getattr(kernel.layer, kernel.name).shape, [0] * len(stored)
    if len(stored) == 4:
        crops = zip(full[:2], stored[:2], kernel.sizes[:2], strict=True)
        begin[:2] = [(whole - part) // 2 - (whole - kept) // 2 for whole, kept, part in crops]
    return tuple(begin[axis] for axis in AXES[len(begin)])
