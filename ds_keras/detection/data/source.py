"""Images with boxes: what every reader returns, what is trained on and what is measured on."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from ds_keras.core.files import shown
from ds_keras.data.readers.storage import Storage

HELD_OUT = 0.2  # of a set that has no test part
FOLDERS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}  # of parts: the first that is there


class Boxes(NamedTuple):
    """The things on one image.

    Args:
        boxes: (count, 4) float32: x_min, y_min, x_max, y_max as fractions of the image's width and height.
        classes: (count,) int32.
        difficult: (count,) bool: things that need not be found, and that nothing is learnt from.
    """

    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray


class BoxSource:
    """A random-access set of images with boxes. Subsets share the pixels.

    Args:
        storage: the images.
        things: of each image.
        class_names: one name for each class.
        name: for messages and metrics.
        indices: (count,) places of the images in the storage; default all of it, in order.

    Raises:
        ValueError: no image, or another number of ``things``.

    Example:
        >>> source = detection.load_data("voc:blood_cells").train
        >>> source.image(0).shape, source.things[0].boxes
    """

    def __init__(
        self,
        storage: Storage,
        things: Sequence[Boxes],
        class_names: Sequence[str],
        name: str = "images",
        indices: Any = None,
    ):
        self.storage, self.things, self.name = storage, list(things), name
        self.class_names = [str(class_name) for class_name in class_names]
        self.indices = np.arange(len(storage)) if indices is None else np.asarray(indices, np.int64)
        if not self.things or len(self.things) != len(self.indices):
            raise ValueError(f"{name}: things must be of each of {len(self.indices)} images, received {len(things)}")

    def __len__(self) -> int:
        return len(self.things)

    def __repr__(self) -> str:
        return f"BoxSource({self.name!r}, {len(self)} images, {self.count} boxes, {len(self.class_names)} classes)"

    @property
    def count(self) -> int:
        """Boxes on all images."""
        return sum(len(one.boxes) for one in self.things)

    def image(self, index: int) -> np.ndarray:
        """One image: (height, width, channels) uint8, at its own size."""
        return self.storage.read(int(self.indices[index]))

    def subset(self, chosen: Any, name: str | None = None) -> "BoxSource":
        """The images at these places, in that order.

        Args:
            chosen: (count,) integers in [0, len(self)).
            name: default this source's.

        Returns:
            A source that shares the pixels.
        """
        chosen = np.asarray(chosen, np.int64)
        things = [self.things[i] for i in chosen]
        return BoxSource(self.storage, things, self.class_names, name or self.name, self.indices[chosen])

    def split(self, held_out: float, seed: int = 0) -> tuple["BoxSource", "BoxSource"]:
        """Holds a part out; the same arguments always give the same images.

        Args:
            held_out: fraction in (0, 1).
            seed: of the choice.

        Returns:
            (the rest, the part held out), each in this source's order.

        Raises:
            ValueError: one of the parts would be empty.
        """
        count = round(float(held_out) * len(self))
        if not 0 < count < len(self):
            raise ValueError(f"held_out must leave images in both parts of {len(self)}, received {held_out!r}")
        order = np.random.RandomState(seed).permutation(len(self))
        parts = np.sort(order[count:]), np.sort(order[:count])
        return self.subset(parts[0], f"{self.name}[train]"), self.subset(parts[1], f"{self.name}[held out]")


class BoxSets(NamedTuple):
    """The parts of a set of images with boxes.

    Args:
        train: to learn from.
        test: to measure on.
        held_out: whether ``test`` was drawn from the images, which had no such part.
        val: the last images of ``train``, where the set has a part of that name beside ``test``: see ``with_val`` and
            ``without_val``.
    """

    train: BoxSource
    test: BoxSource
    held_out: bool
    val: BoxSource | None = None

    @property
    def class_names(self) -> list[str]:
        """One name for each class."""
        return self.train.class_names

    def part(self, name: str) -> BoxSource:
        """A part by its name.

        Args:
            name: "train", "test", or "val" where the set has it.

        Raises:
            ValueError: no such part.
        """
        parts = {"train": self.train, "test": self.test, "val": self.val}
        found = parts.get(name)
        if found is None:
            known = sorted(part for part, source in parts.items() if source is not None)
            raise ValueError(f"split must be one of {known}, received {name!r}")
        return found

    def with_val(self) -> "BoxSets":
        """The same parts, with a part ``val``: the set's own, or a fifth of ``train``, always the same images."""
        if self.val is not None:
            return self
        rest, held_out = self.train.split(HELD_OUT)
        order = np.concatenate([rest.indices, held_out.indices])
        places = {index: place for place, index in enumerate(self.train.indices.tolist())}
        return self._replace(train=self.train.subset([places[index] for index in order.tolist()]), val=held_out)

    def without_val(self) -> "BoxSets":
        """The same parts, without ``val`` in ``train``: thresholds can be chosen on it then.

        Raises:
            ValueError: there is no such part.
        """
        if self.val is None:
            raise ValueError(f"{self.train.name}: there is no part val beside a test part, so none can be kept")
        kept = range(len(self.train) - len(self.val))
        return self._replace(train=self.train.subset(kept, f"{self.train.name}[without val]"))


def sets_of(
    parts: Mapping[str, tuple[list, list[Boxes]]], storage: Callable[[list], Storage], class_names: list[str], name: str
) -> BoxSets:
    """The parts of a set; "test" is "val", or held out of "train", where there is none.

    Args:
        parts: files and things of "train", and of "val" and "test" where the set has them. "val" is learnt from too
            where there is "test".
        storage: of files.
        class_names: one name for each class.
        name: of the set, for messages and metrics.

    Returns:
        The parts.
    """
    groups = {"train": ["train", "val"], "test": ["test"]} if "test" in parts else {"train": ["train"], "test": ["val"]}
    sources = {}
    for group, members in groups.items():
        joined = [parts[part] for part in members if part in parts]
        if joined:
            files, things = (list(itertools.chain(*lists)) for lists in zip(*joined, strict=True))
            sources[group] = BoxSource(storage(files), things, class_names, f"{name}/{group}")
    if "test" not in sources:
        return BoxSets(*sources["train"].split(HELD_OUT), True)
    sets, count = BoxSets(sources["train"], sources["test"], False), len(sources["train"])
    if "val" not in parts or "test" not in parts:
        return sets
    return sets._replace(val=sets.train.subset(range(count - len(parts["val"][0]), count), f"{name}/val"))


def folders_of(root: Path) -> dict[str, Path]:
    """The folders of a set's parts that lie in a folder: "train", "val" (or "valid"), "test"."""
    found = {}
    for part, names in FOLDERS.items():
        at = next((root / name for name in names if (root / name).is_dir()), None)
        if at is not None:
            found[part] = at
    return found


def check_boxes(boxes: Any, classes: Any, difficult: Any, size: tuple[int, int], where: str) -> Boxes:
    """Boxes in pixels of others as ``Boxes``: checked, cut to the image, as fractions.

    Args:
        boxes: (count, 4) x_min, y_min, x_max, y_max in pixels.
        classes: (count,) integers.
        difficult: (count,) truths.
        size: (width, height) of the image in pixels.
        where: the file that they come from, for messages.

    Returns:
        The boxes; those without an area are left out, with a warning.

    Raises:
        ValueError: numbers that are not finite, or a box that lies outside the image.
    """
    pixels = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not np.isfinite(pixels).all():
        raise ValueError(f"{shown(where)}: boxes must be finite numbers of pixels")
    width, height = size
    fractions = pixels / [width, height, width, height]
    outside = (fractions[:, :2] >= 1).any(axis=1) | (fractions[:, 2:] <= 0).any(axis=1)
    if outside.any():
        first = pixels[outside][0].tolist()
        raise ValueError(f"{shown(where)}: the box {first} lies outside its image of {width}x{height} pixels")
    fractions = np.clip(fractions, 0, 1).astype(np.float32)
    good = (fractions[:, 2:] > fractions[:, :2]).all(axis=1)
    if not good.all():
        logging.warning("%s: %d boxes without an area are left out", shown(where), np.count_nonzero(~good))
    return Boxes(fractions[good], np.asarray(classes, np.int32)[good], np.asarray(difficult, bool)[good])
