"""Packs: a whole image set in one .npz file."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ds_keras.data.decode import decode
from ds_keras.data.readers.named import CIFAR10_CLASSES
from ds_keras.data.readers.npz import check_labels, column, read_npz
from ds_keras.data.readers.storage import ArrayStorage, EncodedStorage
from ds_keras.data.source import Source

MAX_DECODED_BYTES = 256 * 2**20


class LosslessPack(NamedTuple):
    """Original images of a set whose pack is lossy.

    Args:
        source: the images.
        train_index: (count,) int32, their positions in the set's training images: hold these out of training.
    """

    source: Source
    train_index: np.ndarray


PARTS = ("train", "val", "test")


def jpeg_pack(
    path: str | os.PathLike, splits: Sequence[str] | None = None, decode_all: bool | None = None
) -> dict[str, Source]:
    """Reads a pack of JPEG files: for each split ``<split>_jpeg`` (all files back to back), ``<split>_off``, ``_y``.

    Args:
        path: of the .npz file; its ``classes`` names the classes.
        splits: those to read, of "train", "test" and "val"; where the pack has no "test", that is its "val". None reads
            "train" and "test", and "val" where the pack has all three.
        decode_all: whether to hold decoded images in memory; default where they have one size and take at most 256 MiB.

    Returns:
        A source of RGB images for each split.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a pack, or a damaged one.

    Example:
        >>> sets = jpeg_pack("data/cifar10_jpeg.npz")
    """
    arrays = read_npz(path)
    three = all(f"{part}_jpeg" in arrays for part in PARTS)
    sources = {}
    for split in (("train", "test", "val") if three else ("train", "test")) if splits is None else splits:
        stored = "val" if split == "test" and "test_jpeg" not in arrays else split
        missing = {f"{stored}_jpeg", f"{stored}_off", f"{stored}_y", "classes"} - set(arrays)
        if missing or split not in PARTS:
            raise ValueError(f"{path} has no split {split!r}: {sorted(missing)} are missing, it has {sorted(arrays)}")
        blob, offsets, labels = (column(arrays, f"{stored}_{part}", "iu", path) for part in ("jpeg", "off", "y"))
        classes = [str(name) for name in column(arrays, "classes", "USiu", path)]
        if blob.dtype != np.uint8:
            raise ValueError(f"{path}: {stored}_jpeg must be uint8, is {blob.dtype}")
        check_labels(labels, len(classes), path, f"{stored}_y")
        rising = len(offsets) == len(labels) + 1 and bool((offsets[1:] > offsets[:-1]).all())
        if not rising or not 0 <= offsets[0] <= offsets[-1]:
            raise ValueError(
                f"{path}: {stored}_off must hold {len(labels) + 1} rising offsets, one more than {stored}_y"
            )
        if offsets[-1] > len(blob):
            raise ValueError(f"{path} is truncated: {stored}_jpeg has {len(blob)} bytes of {offsets[-1]}")
        data = blob.tobytes()
        files = [data[start:stop] for start, stop in pairwise(offsets)]
        name = f"{Path(path).stem}/{split}"
        sources[split] = Source(_store(files, decode_all, name), labels.astype(np.int32), classes, name)
    return sources


def lossless_pack(path: str | os.PathLike, class_names: Sequence[str] = CIFAR10_CLASSES) -> LosslessPack:
    """Reads a pack of original images: ``x``, ``y`` and ``train_index``.

    Args:
        path: of the .npz file.
        class_names: one name for each class.

    Returns:
        The source, and the positions of its images in the set's training images.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a pack.

    Example:
        >>> bridge = lossless_pack("data/cifar10_lossless_train4000.npz")
        >>> keep = np.setdiff1d(np.arange(len(train)), bridge.train_index)
    """
    arrays = read_npz(path)
    missing = {"x", "y", "train_index"} - set(arrays)
    if missing:
        raise ValueError(f"{path} is not a lossless pack: {sorted(missing)} are missing, it has {sorted(arrays)}")
    index = column(arrays, "train_index", "iu", path)
    if len(index) and not -(2**31) <= int(index.min()) <= int(index.max()) < 2**31:
        raise ValueError(f"{path}: train_index must be positions of images, has values up to {index.max()}")
    index = index.astype(np.int32)
    check_labels(column(arrays, "y", "iu", path), len(class_names), path, "y")
    if index.shape != arrays["y"].shape:
        raise ValueError(f"{path}: train_index must have the shape of y {arrays['y'].shape}, received {index.shape}")
    return LosslessPack(Source.from_arrays(arrays["x"], arrays["y"], class_names, Path(path).stem), index)


def bridged_pack(path: str | os.PathLike, lossless: str | os.PathLike) -> dict[str, Source]:
    """Reads a pack of JPEG files with the original images of a part of it: a bridge from the lossy copy to the set.

    Args:
        path: see ``jpeg_pack``.
        lossless: see ``lossless_pack``.

    Returns:
        {"train": the pack's without the images of which there are originals, "test": the pack's, "lossless": those
        originals, which no training saw}.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: not such packs, or other classes or labels.

    Example:
        >>> sets = bridged_pack("data/cifar10_jpeg.npz", "data/cifar10_lossless_train4000.npz")
    """
    sources = jpeg_pack(path)
    train = sources["train"]
    original, index = lossless_pack(lossless, train.class_names)
    inside = (index >= 0) & (index < len(train))
    if not inside.all() or len(np.unique(index)) != len(index):
        raise ValueError(f"{lossless}: train_index must name images of {path}, each once, in [0, {len(train)})")
    if original.image_shape != train.image_shape:
        raise ValueError(
            f"{lossless}: images must have the shape {train.image_shape} of {path}, received {original.image_shape}"
        )
    if not np.array_equal(train.labels[index], original.labels):
        raise ValueError(f"{lossless} does not belong to {path}: the labels of the same images differ")
    rest = train.subset(np.setdiff1d(np.arange(len(train)), index))
    return {"train": rest, "test": sources["test"], "lossless": original}


def _store(files: list[bytes], decode_all: bool | None, name: str) -> ArrayStorage | EncodedStorage:
    """Decodes everything once, to learn sizes and kinds; keeps what fits, else the encoded files."""

    def read(position: int) -> tuple:
        try:
            image, plain = decode(files[position])
        except ValueError as error:
            raise ValueError(f"{name}, image {position}: {error}") from error
        return image.shape, plain, image

    shapes, plain, images, size = set(), np.zeros(len(files), bool), [], 0
    limit = {None: MAX_DECODED_BYTES, True: np.inf, False: 0}[decode_all]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(files), 4096):  # not all decoded images at once
            for k, (shape, is_plain, image) in enumerate(pool.map(read, range(start, min(start + 4096, len(files))))):
                shapes.add(shape)
                plain[start + k] = is_plain
                size += image.size
                if size <= limit and len(shapes) == 1:
                    images.append(image)
    if len(images) == len(files):
        return ArrayStorage(np.stack(images))
    if decode_all:
        raise ValueError(f"decode_all=True needs images of one size, {name} has {len(shapes)} sizes")
    shape = shapes.pop() if len(shapes) == 1 else (None, None, 3)
    return EncodedStorage(files, shape, plain)
