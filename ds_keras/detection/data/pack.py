"""Reads packs: a whole set of images with boxes in one .npz file."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.core.files import shown
from ds_keras.data.readers.npz import check_labels, column, read_npz
from ds_keras.data.readers.storage import EncodedStorage
from ds_keras.detection.boxes import image_size
from ds_keras.detection.data.source import Boxes, BoxSets, check_boxes, sets_of


def pack(path: str | os.PathLike) -> BoxSets:
    """Reads a pack: ``<part>_jpeg`` (files back to back), ``_off``, ``_boxes``, ``_box_class``, ``_box_off``.

    Args:
        path: of the .npz file; its ``classes`` names the classes. The part ``val`` joins the training images where
            there is ``test`` too.

    Returns:
        The parts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a pack, or a damaged one.
    """
    arrays = read_npz(path)
    parts = [part for part in ("train", "val", "test") if f"{part}_jpeg" in arrays]
    needed = {f"{part}_{k}" for part in parts for k in ("off", "boxes", "box_class", "box_off")} | {"classes"}
    if missing := sorted(needed - set(arrays)):
        raise ValueError(f"{shown(path)}: {missing} are missing, it has {sorted(arrays)}")
    if "train" not in parts:
        raise ValueError(f"{shown(path)} must have a part 'train', it has {sorted(arrays)}")
    read = {part: _read_part(arrays, part, path) for part in parts}
    names = [str(name) for name in column(arrays, "classes", "US", path)]
    return sets_of(read, EncodedStorage, names, Path(path).stem)


def _read_part(arrays: dict[str, np.ndarray], part: str, path: str | os.PathLike) -> tuple[list[bytes], list[Boxes]]:
    """Files and things of one part of a pack."""
    blob, offsets, classes, marks = (
        column(arrays, f"{part}_{name}", "iu", path) for name in ("jpeg", "off", "box_class", "box_off")
    )
    boxes = arrays[f"{part}_boxes"]
    ends = {"off": (offsets, len(blob)), "box_off": (marks, len(classes))}
    for name, (places, most) in ends.items():
        if not len(places) or places[0] != 0 or places[-1] > most or (np.diff(places) < 0).any():
            raise ValueError(f"{shown(path)}: {part}_{name} must rise from 0 to at most {most}")
    if len(marks) != len(offsets) or boxes.shape != (len(classes), 4) or boxes.dtype.kind not in "iuf":
        raise ValueError(f"{shown(path)}: {part}_boxes and _box_off must suit {part}_box_class and {part}_off")
    check_labels(classes, len(arrays["classes"]), path, f"{part}_box_class")
    data = blob.astype(np.uint8).tobytes()
    files = [data[start:stop] for start, stop in itertools.pairwise(offsets)]
    return files, list(_things(files, boxes, classes, marks, f"{path}, {part}"))


def _things(files: list[bytes], boxes: Any, classes: Any, marks: Any, where: str) -> Iterator[Boxes]:
    for i, (start, stop) in enumerate(itertools.pairwise(marks)):
        name, none = f"{where} image {i}", np.zeros(stop - start, bool)
        try:
            size = image_size(files[i])
        except ValueError as error:
            raise ValueError(f"{shown(name)}: {error}") from None
        yield check_boxes(boxes[start:stop], classes[start:stop], none, size, name)
