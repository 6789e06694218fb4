"""Reads .npz files; what they declare is checked before memory is taken."""

import math
import os
import stat
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy

GROWTH, BASE = 20, 2**28  # arrays may take so many times the file's bytes, and 256 MiB more
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """All arrays of an .npz file.

    Args:
        path: of the file.

    Returns:
        The arrays by name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no .npz file, a damaged one, or one whose arrays need much more memory than the file has bytes. The
            message names the file.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is missing")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("it is not a regular file")
        _check(path)
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds
        raise ValueError(f"{path} is not a .npz file, or a damaged one: {error}") from error


def column(arrays: dict[str, np.ndarray], name: str, kinds: str, path: str | os.PathLike) -> np.ndarray:
    """One array of a file, which must have one axis.

    Args:
        arrays: of the file.
        name: of the array.
        kinds: allowed kinds of dtype, as NumPy writes them ("iu" for integers).
        path: of the file, for messages.

    Returns:
        The array.

    Raises:
        ValueError: another number of axes or another dtype.
    """
    array = arrays[name]
    if array.ndim != 1 or array.dtype.kind not in kinds:
        raise ValueError(f"{path}: {name} must have one axis and a dtype of {kinds!r}, is {array.dtype} {array.shape}")
    return array


def check_labels(labels: np.ndarray, classes: int, path: str | os.PathLike, name: str) -> None:
    """Refuses a label that is no class, by its position.

    Raises:
        ValueError: there is one.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        first = wrong[0]
        raise ValueError(
            f"{path}: {name} must lie in [0, {classes}), one for each class; {name}[{first}] is {labels[first]}"
        )


def _check(path: str | os.PathLike) -> None:
    limit = GROWTH * os.path.getsize(path) + BASE
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > limit:
            raise ValueError(f"its arrays would take more than {limit} bytes")
        for info in archive.infolist():
            if info.compress_type not in _METHODS:
                raise ValueError(f"{info.filename} is compressed in a way that NumPy does not write")
            with archive.open(info) as file:
                _check_header(file, info)


def _check_header(file: Any, info: zipfile.ZipInfo) -> None:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds Python objects")
    if math.prod(shape) * dtype.itemsize + file.tell() != info.file_size:
        raise ValueError(f"{info.filename} declares {dtype} {shape}, which its {info.file_size} bytes are not")
