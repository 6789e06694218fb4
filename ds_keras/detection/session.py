"""Runs a detector's TFLite files, without TensorFlow: NumPy, Pillow and LiteRT."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.core.files import expanded, read_json, read_limited, shown
from ds_keras.detection.boxes import Detections, check_choice, choose, stretched
from ds_keras.photos.preprocessing import listed
from ds_keras.runtime.network import Interpreted

FORMAT_VERSION = 1
DESCRIPTION, FILE = "detector.json", "level_{}.tflite"
MAX_BYTES, MAX_JSON, MAX_CLASSES, MAX_SIDE = 1 << 30, 1 << 20, 10_000, 8192


class Session:
    """A detector in LiteRT.

    Args:
        directory: that ``to_tflite`` wrote.
        num_threads: of LiteRT.

    Raises:
        ValueError: no ``detector.json``, or a damaged one; the message names the file.

    Example:
        >>> found = Session("runs/cells/tflite").detect("photo.jpg", level=0)[0]
    """

    def __init__(self, directory: str | os.PathLike, num_threads: int = 1):
        self.directory, self.num_threads = expanded(directory), num_threads
        self.shape, self.labels, self.num_classes, self.files = _read(self.directory / DESCRIPTION)
        self._open: dict[int, Interpreted] = {}

    @property
    def levels(self) -> list[int]:
        """The levels that there are files of, smallest first."""
        return sorted(self.files)

    def detect(
        self, images: Any, level: int | None = None, threshold: float = 0.3, iou: float = 0.5, most: int = 100
    ) -> list[Detections]:
        """Finds things on photos of any size: as ``DSDetector.detect``.

        Args:
            images: a photo, or a list of them, or an array of several.
            level: default the largest.
            threshold: smallest score of what is given.
            iou: boxes of a class count as one thing where their intersection over union is larger.
            most: boxes for each photo.

        Returns:
            For each photo its ``Detections``.

        Raises:
            ValueError: a photo or a file that cannot be read, or a bad argument.
            FileNotFoundError: no such photo.
        """
        check_choice(threshold, iou, most)
        network = self._network(self.levels[-1] if level is None else level)
        found = []
        for photo in listed(images):
            outputs = network(stretched(photo, self.shape)[None].astype(np.float32))
            found.append(choose(outputs["boxes"][0], outputs["scores"][0], threshold, iou, most, self.labels))
        return found

    def _network(self, level: int) -> Interpreted:
        if level not in self.files:
            raise ValueError(f"level must be one of {self.levels}, received {level!r}")
        if level not in self._open:
            path = self.files[level]
            network = Interpreted(read_limited(path, MAX_BYTES), self.num_threads, name=str(path))
            shapes = network.output_shapes
            sound = set(shapes) == {"boxes", "scores"} and network.input_shape == (1, *self.shape)
            if not sound or shapes["scores"] != (*shapes["boxes"][:2], self.num_classes) or shapes["boxes"][2:] != (4,):
                raise ValueError(f"{shown(path)} is not the file of this detector: {network.input_shape} to {shapes}")
            self._open[level] = network
        return self._open[level]


def _read(path: Path) -> tuple[tuple[int, int, int], list[str] | None, int, dict[int, Path]]:
    """Size of the images, names of the classes, their number, and the file of each level."""
    record = read_json(path, MAX_JSON)
    try:
        if record["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version must be {FORMAT_VERSION}")
        height, width, channels = record["input_shape"]
        count, labels, rows = record["num_classes"], record["labels"], record["levels"]
        sides = all(type(n) is int and 0 < n <= MAX_SIDE for n in (height, width)) and channels in (1, 3)
        named = labels is None or (len(labels) == count and all(isinstance(name, str) for name in labels))
        if not sides or type(count) is not int or not 0 < count <= MAX_CLASSES or not named or not rows:
            raise ValueError("input_shape, num_classes, labels or levels are not those of a detector")
        # The names of files are made here, not read, so that none lies elsewhere.
        files = {
            level: path.parent / FILE.format(level) for level in (row["level"] for row in rows) if _is_level(level)
        }
        if len(files) != len(rows):
            raise ValueError("levels must be integers of at least 0, each once")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{shown(path)} does not describe a detector: {type(error).__name__}: {error}") from None
    return (height, width, channels), labels, count, files


def _is_level(level: Any) -> bool:
    return type(level) is int and 0 <= level < 1000
