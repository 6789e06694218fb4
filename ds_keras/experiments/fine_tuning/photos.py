"""The photos: what is learnt from, held out and tested on; those to learn from are decoded once."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from absl import logging

from ds_keras.data import Source

FEWEST = 5  # photos of a class
TEST_FROM = 1000  # photos from which on a test part is worth having, where there is no test folder
SHARE, SMALL_SHARE = 0.1, 0.2  # held out, of many and of few
ZOOM = 1.25  # pixels in memory over those of the network: random crops enlarge
MEMORY = 2**30  # bytes that decoded photos may take; more stay on the disk


class Photos(NamedTuple):
    """The parts.

    Args:
        train: to learn from.
        held_out: to choose the policy and its thresholds on.
        test: for the figures; None where ``held_out`` gives them.
    """

    train: Source
    held_out: Source
    test: Source | None

    def parts(self) -> dict[str, Source]:
        """As ``experiments.run.Run`` takes them."""
        return {name: part for name, part in self._asdict().items() if part is not None}


def divide(source: Source | Mapping[str, Source], seed: int = 0) -> Photos:
    """Holds photos out, every class in proportion.

    Args:
        source: all photos, or {"train", "test"}. A test part that was drawn from the same photos (the reader of folders
            does so where there is no test folder) is kept from ``TEST_FROM`` photos on, else it joins the others. A
            part "val" is what is held out; without it, it is taken from the photos to learn from.
        seed: of the choice.

    Returns:
        The parts.

    Raises:
        ValueError: no photos, a single class, or too few photos of a class.
    """
    if isinstance(source, Source):
        train, test = source, None
        if len(source) >= TEST_FROM:
            train, test = source.split(SHARE, seed)
    elif isinstance(source, Mapping) and isinstance(source.get("train"), Source):
        train, test = source["train"], source.get("test")
    else:
        raise ValueError(f"source must be a ds_keras.data.Source or a dict with 'train', received {source!r}")
    if test is not None and test.storage is train.storage and len(train) + len(test) < TEST_FROM:
        train, test = _joined(train, test), None
        logging.info("fewer than %d photos: no test set, all are learnt from or held out", TEST_FROM)
    _check(train)
    if isinstance(source, Mapping) and "val" in source:
        return Photos(train, source["val"], test)
    train, held_out = train.split(SMALL_SHARE if test is None else SHARE, seed)
    return Photos(train, held_out, test)


def in_memory(source: Source, size: tuple[int, int]) -> Source:
    """Photos of varying size, decoded once: a centre crop somewhat larger than the network's images.

    Args:
        source: photos to learn from.
        size: (height, width) of the network's images.

    Returns:
        The same labels; the source itself where its images have one size, or would take more than a gigabyte.
    """
    side = tuple(round(ZOOM * n) for n in size)
    if None not in source.image_shape or len(source) * np.prod(side) * source.image_shape[2] > MEMORY:
        return source
    return Source.from_arrays(source.images(side), source.labels, source.class_names, source.name)


def _joined(first: Source, second: Source) -> Source:
    """Two subsets of the same images as one."""
    indices = np.concatenate([first.indices, second.indices])
    labels = np.concatenate([first.labels, second.labels])
    return Source(first.storage, labels, first.class_names, first.name, indices, first.corrupt)


def _check(train: Source) -> None:
    names = train.class_names
    if len(names) < 2:
        raise ValueError(f"source must have at least two classes, received {names}")
    counts = np.bincount(train.labels, minlength=len(names))
    few = [f"{names[k]!r} has {counts[k]}" for k in np.flatnonzero(counts < FEWEST)]
    if few:
        more = f" ({len(train.corrupt)} files could not be decoded)" if train.corrupt else ""
        raise ValueError(f"source must have at least {FEWEST} photos of each class, but {', '.join(few)}{more}")
