"""Fashion-MNIST from its four original idx files."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from ds_keras.data.readers.npz import check_labels
from ds_keras.data.source import Source

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
SHAPE = (28, 28)
MAX_SIZE = 1 << 28  # bytes of a file, unpacked
_UINT8 = 8  # type code of an idx file


def fashion_mnist(directory: str | os.PathLike) -> dict[str, Source]:
    """Reads Fashion-MNIST: 60,000 + 10,000 grey images of 28x28, ten classes.

    Args:
        directory: holds ``train-images-idx3-ubyte.gz``, ``train-labels-idx1-ubyte.gz`` and the two ``t10k-`` files.

    Returns:
        {"train": Source, "test": Source} of (28, 28, 1) uint8 images.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is truncated, damaged, or holds something else.

    Source: Xiao, Rasul and Vollgraf, arXiv 1708.07747; MIT licence, (c) 2017 Zalando SE.

    Example:
        >>> train, held_out = fashion_mnist("data/fashion-mnist")["train"].split(5000)
    """
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = read_idx(Path(directory) / f"{prefix}-images-idx3-ubyte.gz", rank=3)
        labels = read_idx(Path(directory) / f"{prefix}-labels-idx1-ubyte.gz", rank=1)
        if len(images) != len(labels):
            raise ValueError(f"{directory}: {len(images)} {split} images but {len(labels)} labels")
        if images.shape[1:] != SHAPE or not len(images):
            raise ValueError(f"{directory}: {split} images must have the shape {SHAPE}, received {images.shape[1:]}")
        check_labels(labels, len(FASHION_MNIST_CLASSES), directory, f"{split} labels")
        name = f"fashion_mnist/{split}"
        splits[split] = Source.from_arrays(images[..., None], labels, FASHION_MNIST_CLASSES, name)
    return splits


def read_idx(path: str | os.PathLike, rank: int) -> np.ndarray:
    """Reads one gzipped idx file of bytes.

    Args:
        path: of the file.
        rank: number of dimensions it must have.

    Returns:
        uint8 array of that rank.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not gzip, truncated, not an idx file of bytes of that rank, or too long.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is {'no regular file' if os.path.lexists(path) else 'missing'}")
    try:
        with gzip.open(path, "rb") as file:
            shape = _shape(path, file.read(4 + 4 * rank), rank)
            size = math.prod(shape)
            if size > MAX_SIZE:
                raise ValueError(f"{path} declares the shape {shape}, more than {MAX_SIZE} bytes")
            data = file.read(size)
            left = len(file.read(1))
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is truncated or damaged: {error}") from error
    if len(data) != size or left:
        holds = "more" if left else len(data)
        raise ValueError(f"{path} should hold {size} bytes for the shape {shape}, but holds {holds}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _shape(path: Path, header: bytes, rank: int) -> list[int]:
    """The shape that the header of an idx file declares."""
    wanted = bytes([0, 0, _UINT8, rank])
    if len(header) < 4 + 4 * rank or header[:4] != wanted:
        raise ValueError(
            f"{path} is not an idx file of bytes of rank {rank}: it starts with {header[:4].hex()}, not {wanted.hex()}"
        )
    return np.frombuffer(header, ">u4", rank, 4).astype(int).tolist()
