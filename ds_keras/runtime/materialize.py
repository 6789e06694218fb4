"""Slice at install: puts a file's kernels, cut from the full ones, back into its template. numpy alone."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

ALIGNMENT = 64  # bytes, of a kernel in a file


class Copy(NamedTuple):
    """A kernel slice of a file.

    Args:
        kernel: key of the full kernel.
        begin: first index on every axis.
        shape: size on every axis.
        axis: of the output channels, which the factor belongs to.
        factor: position of the first factor in the file's fold vector, or None for a slice as it is.
        offset: byte of the file at which the slice begins.
    """

    kernel: str
    begin: tuple[int, ...]
    shape: tuple[int, ...]
    axis: int
    factor: int | None
    offset: int


class Template(NamedTuple):
    """A file without its kernels.

    Args:
        graph: flatbuffer whose kernels are external: behind it, in the same file.
        copies: what comes behind it.
        factors: float32 fold vector: the BatchNorm factors of all copies.
        tail: what follows the kernels: the archive with the labels, where readers of TFLite metadata look for it.
        size: bytes of the file.
    """

    graph: bytes
    copies: tuple[Copy, ...]
    factors: np.ndarray
    tail: bytes
    size: int


def materialize(template: Template, kernels: Mapping[str, np.ndarray]) -> bytes:
    """A static TFLite file: slice x factor, one float32 product for each weight.

    Args:
        template: of the file, checked (see ``Bundle``).
        kernels: the full kernels by key, float32, float16 or int8, in TFLite's order of axes.

    Returns:
        The file's bytes.

    Source: ours; the idea that a level is a dense prefix of every kernel: DS-Net, arXiv 2103.13258, section 3.1.

    Example:
        >>> data = materialize(bundle.template("entry_0"), bundle.kernels)
    """
    file = bytearray(template.size)
    file[: len(template.graph)] = template.graph
    file[len(file) - len(template.tail) :] = template.tail
    for copy in template.copies:
        full = kernels[copy.kernel]
        part = full[tuple(slice(b, b + n) for b, n in zip(copy.begin, copy.shape, strict=True))]
        if copy.factor is not None:
            factor = template.factors[copy.factor : copy.factor + copy.shape[copy.axis]]
            with np.errstate(all="ignore"):  # the hash says whether these are the file's numbers
                part = scaled(part.astype("float32"), factor, copy.axis).astype(full.dtype)
        data = part.tobytes()
        file[copy.offset : copy.offset + len(data)] = data
    return bytes(file)


def scaled(values: np.ndarray, factor: np.ndarray | None, axis: int) -> np.ndarray:
    """float32 values times a factor for each index of ``axis``; None leaves them as they are."""
    if factor is None:
        return values
    return values * factor.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
