"""A file as a template and a copy plan: its graph without kernels, and where they come from.

``make_template`` makes both; ``runtime.materialize`` puts the kernels back, on a device or here. The files of a bundle,
and those of ``to_tflite`` with any part but "whole", come from that one function.
"""

from collections.abc import Sequence

import numpy as np

from ds_keras.export.flatbuffer import repacked, unpacked
from ds_keras.export.kernel import AXES, DTYPES, Kernel, payload, stored_shapes
from ds_keras.export.metadata import About, about, describe, tail
from ds_keras.export.tflite.source import ExportSource
from ds_keras.runtime.materialize import ALIGNMENT, Copy, Template, materialize

SMALLEST = 128  # bytes of a constant that is worth an entry of the plan


def make_template(
    data: bytes,
    kernels: Sequence[Kernel],
    quantization: str | None,
    stored: dict[str, tuple[int, ...]],
    metadata: About,
) -> Template:
    """Takes the kernels out of a file.

    Args:
        data: TFLite file of a folded part (see ``ExportSource.file``).
        kernels: what it is made of.
        quantization: of the file.
        stored: shape of every kernel in the payload: see ``stored_shapes``.
        metadata: of the file.

    Returns:
        The file's ``Template``.
    """
    known: dict[bytes, list[Kernel]] = {}
    for kernel in kernels:
        if kernel.shared(quantization):
            known.setdefault(kernel.used(quantization).tobytes(), []).append(kernel)
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
        folds = kernel.factor is not None and DTYPES[quantization] != "int8"  # the scales of int8 codes carry it
        copies.append(Copy(kernel.key, begin, shape, kernel.axis, len(factors) if folds else None, end))
        if folds:
            factors = np.concatenate([factors, kernel.factor])
        end += size
    files = tail(metadata, end)
    return Template(repacked(graph), tuple(copies), factors, files, end + len(files))


def materialized(source: ExportSource, part: str, level: int, licence: str | None = None) -> bytes:
    """A part as a static TFLite file: byte for byte what a bundle of the model makes of its parts."""
    (data, kernels), quantization = source.file(part, level), source.quantization
    says = about(source.model, part, level, licence)
    template = make_template(data, kernels, quantization, stored_shapes(kernels), says)
    return materialize(template, payload(kernels, quantization))


def _begin(kernel: Kernel, stored: tuple[int, ...]) -> tuple[int, ...]:
    """Where the slice begins in the stored kernel: the origin, but for a kernel's centre crop."""
    full, begin = getattr(kernel.layer, kernel.name).shape, [0] * len(stored)
    if len(stored) == 4:
        crops = zip(full[:2], stored[:2], kernel.sizes[:2], strict=True)
        begin[:2] = [(whole - part) // 2 - (whole - kept) // 2 for whole, kept, part in crops]
    return tuple(begin[axis] for axis in AXES[len(begin)])
