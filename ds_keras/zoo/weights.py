"""Weights of others: what a file declares is compared with its bytes before memory is taken, its values are finite."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from ds_keras.core.files import shown

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

MAX_OBJECTS, MAX_DEPTH = 100_000, 32  # of an HDF5 file: groups and arrays, and how deep they lie


class Size(NamedTuple):
    """What a file of weights holds.

    Args:
        arrays: how many.
        values: numbers in all of them.
    """

    arrays: int
    values: int


def measure(path: Path) -> Size:
    """The size of what a file of weights holds, after checking that it can be held.

    Args:
        path: HDF5 file, as ``save_weights`` writes it.

    Returns:
        ``Size``.

    Raises:
        ValueError: no such file; links and arrays that lie elsewhere; arrays of anything but numbers, or larger than
            the file. The message names the file.
    """
    try:
        with h5py.File(path) as file:
            sizes = [array.size for array in _arrays(file)]
            declared = sum(array.nbytes for array in _arrays(file))
            if declared > os.path.getsize(path):
                raise ValueError(f"its arrays declare {declared} bytes, more than the file has")
    except Exception as error:  # what h5py raises for a damaged file has no common type
        raise ValueError(f"{path} is no file of weights, or a damaged one: {error}") from None
    return Size(len(sizes), sum(sizes))


def load(model: "ImageModel", path: Path) -> None:
    """Fills a built network.

    Args:
        model: the network.
        path: file that was measured.

    Raises:
        ValueError: the file is of another network, or a weight is not finite. The message names the file.
    """
    try:
        model.load_weights(path)
    except Exception as error:  # what h5py and Keras raise for a file of another network has no common type
        raise ValueError(f"{path} does not hold the weights of this network: {error}") from error
    for variable in model.weights:
        if not np.isfinite(variable.numpy()).all():
            raise ValueError(f"{path}: every weight must be finite, {shown(variable.path)} holds NaN or infinity")


def _arrays(group: Any) -> list[Any]:
    """All arrays of a file; each object once, so that groups which hold each other end."""
    found, left, seen = [], [(group, 0)], 0
    while left:
        group, depth = left.pop()
        for name in group:
            seen += 1
            if seen > MAX_OBJECTS or depth > MAX_DEPTH:
                raise ValueError(f"more than {MAX_OBJECTS} objects, or deeper than {MAX_DEPTH}")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{shown(name)} is a link")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                left.append((entry, depth + 1))
            elif not isinstance(entry, h5py.Dataset) or entry.is_virtual or entry.external:
                raise ValueError(f"{shown(name)} does not lie in the file")
            elif entry.shape is None or entry.dtype.kind not in "fiu" or entry.dtype.itemsize > 8:
                raise ValueError(f"{shown(name)} is no array of numbers: {entry.dtype}")
            else:
                found.append(entry)
    return found
