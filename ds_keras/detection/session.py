"""Runs a detector's files, without TensorFlow: NumPy, Pillow and LiteRT."""

import os
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ds_keras.core.files import expanded, read_json, read_limited, shown
from ds_keras.detection.boxes import Detections, check_choice, choose, stretched
from ds_keras.detection.routing.confidence import LEAST
from ds_keras.photos.preprocessing import listed
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.graph_check import check_graph
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.manifest import DETECTION, INDEX, MAX_CLASSES, MAX_SCORES, task_of
from ds_keras.runtime.network import Interpreted, to_array

if TYPE_CHECKING:
    from ds_keras.detection.routing import DetectionCascade

FORMAT_VERSION = 1
DESCRIPTION, FILE = "detector.json", "level_{}.tflite"
MAX_BYTES, MAX_JSON, MAX_SIDE, MAX_LEVELS = 1 << 30, 1 << 20, 8192, 1000


class Session:
    """A detector in LiteRT. Safe to share between threads: one photo runs at a time.

    A level's network is made and opened when it is first used.

    Args:
        source: what ``to_bundle`` wrote (a file, a directory, or a ``Bundle``); the directory that ``to_tflite`` wrote;
            or one of its files, which gives one level.
        num_threads: of LiteRT.
        cache_dir: of a bundle: keeps the levels' files for the next start; None makes them in memory.
        keep: levels that stay open; the one unused for longest is closed first.

    Raises:
        ValueError: nothing of a detector, or something damaged; the message names the file.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> found = Session("cells.dsbundle").detect("photo.jpg", level=0)[0]
    """

    def __init__(
        self,
        source: str | os.PathLike | Bundle,
        num_threads: int = 1,
        cache_dir: str | os.PathLike | None = None,
        keep: int = 3,
    ):
        self.num_threads = num_threads
        self._files = _opened(source, num_threads, cache_dir, keep)
        self.shape, self.labels = self._files.shape, self._files.labels
        self.num_classes, self.levels = self._files.num_classes, self._files.levels
        self._lock = threading.Lock()

    def detect(
        self,
        images: Any,
        level: int | None = None,
        threshold: float = 0.3,
        iou: float = 0.5,
        most: int = 100,
        cascade: "DetectionCascade | None" = None,
    ) -> list[Detections]:
        """Finds things on photos of any size: as ``DSDetector.detect``.

        Args:
            images: a photo, or a list of them, or an array of several.
            level: default the largest; or
            cascade: picks the levels of each photo, see ``detection.routing``; a bundle's larger levels go on from the
                features of the first.
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
        if cascade is not None and level is not None:
            raise ValueError(f"give level or cascade, received level={level!r} and a cascade")
        found = []
        for photo in listed(images):
            image = stretched(photo, self.shape)
            boxes, scores = self.run(image, level) if cascade is None else self.run_in_turn(image, cascade)[:2]
            found.append(choose(boxes, scores, threshold, iou, most, self.labels))
        return found

    def run(self, image: np.ndarray, level: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What a level gives for one image, before boxes of one thing are sorted out.

        Args:
            image: (height, width, channels) of the network's size, in [0, 255].
            level: default the largest.

        Returns:
            Boxes (locations, 4) as fractions of width and height, and scores (locations, classes).

        Raises:
            ValueError: another shape, no such level, or a damaged file.
        """
        level = self.levels[-1] if level is None else level
        if isinstance(level, bool) or level not in self.levels:
            raise ValueError(f"level must be one of {self.levels}, received {level!r}")
        image = self._checked(image)
        with self._lock:
            found = self._files.network(int(level))(image)
        return to_array(found["boxes"])[0], to_array(found["scores"])[0]

    def run_in_turn(self, image: np.ndarray, cascade: "DetectionCascade") -> tuple[np.ndarray, np.ndarray, int, float]:
        """What a cascade gives for one image: as ``run``, with the level that answered and what it cost.

        Args:
            image: (height, width, channels) of the network's size, in [0, 255].
            cascade: see ``detection.routing``.

        Returns:
            Boxes (locations, 4), scores (locations, classes), the level, and the multiply-adds of all that ran.

        Raises:
            ValueError: another shape, a cascade of other levels, or a damaged file.
        """
        if list(range(cascade.spec.num_levels)) != self.levels:
            raise ValueError(f"cascade must be of the levels {self.levels}, received {cascade.spec.num_levels} levels")
        batch, found = self._checked(image), {}

        def first(level: int) -> Any:
            found.update(self._files.network(level)(batch))
            return found

        def follow(level: int) -> Any:
            found.update(self._files.after(level, batch, found))
            return found

        def scores(found: Any) -> np.ndarray:
            return choose(to_array(found["boxes"])[0], to_array(found["scores"])[0], LEAST).scores

        with self._lock:
            _, level, madds = cascade.run(first, follow, scores)
        return to_array(found["boxes"])[0], to_array(found["scores"])[0], level, madds

    def _checked(self, image: np.ndarray) -> np.ndarray:
        """The image as a batch."""
        image = np.asarray(image)
        if image.shape != self.shape:
            raise ValueError(f"image must have shape {self.shape}, received {image.shape}")
        return image[None].astype(np.float32)


class _Files(Protocol):
    """Where the networks of a detector come from."""

    shape: tuple[int, int, int]
    labels: list[str] | None
    num_classes: int
    levels: list[int]  # smallest first

    def network(self, level: int) -> Any:
        """A level, opened: images to a dict with "boxes" and "scores"."""
        ...

    def after(self, level: int, image: np.ndarray, found: Any) -> Any:
        """What a level gives for an image for which a smaller level gave ``found``."""
        ...


class _Bundled:
    """The levels of a bundle."""

    def __init__(self, bundle: Bundle, num_threads: int, cache_dir: Any, keep: int):
        manifest = bundle.manifest
        if task_of(manifest) != DETECTION:
            raise ValueError(f"{shown(bundle.path)} is a bundle of a classifier: open it by ds_keras.runtime.Session")
        height, width, channels = manifest["image_shape"]
        self.shape = height, width, channels
        _check_sides(self.shape, bundle.path)
        self.labels, self.num_classes = manifest["labels"], manifest["num_classes"]
        self.levels = list(range(len(manifest["madds"]["body"])))
        self.opened = Levels(bundle, num_threads, cache_dir, keep, "interpreter", weight_cache=False)

    def network(self, level: int) -> Any:
        return self.opened.entry(level)

    def after(self, level: int, image: np.ndarray, found: Any) -> Any:
        return self.opened.body(level)(found["features"])


class _Loose:
    """A TFLite file for each level."""

    def __init__(self, record: Any, files: dict[int, Path], num_threads: int, keep: int):
        self.shape, self.labels, self.num_classes = record
        self.files, self.num_threads, self.keep = files, num_threads, keep
        self.levels = sorted(files)
        self.opened: OrderedDict[int, Interpreted] = OrderedDict()

    def network(self, level: int) -> Any:
        if level not in self.opened:
            path = self.files[level]
            network = _interpreted(path, self.num_threads)
            shapes, count = network.output_shapes, network.output_shapes["boxes"][1]
            if network.input_shape != (1, *self.shape) or shapes["scores"] != (1, count, self.num_classes):
                raise ValueError(f"{shown(path)} is not the file of this detector: {network.input_shape} to {shapes}")
            self.opened[level] = network
            if len(self.opened) > self.keep:
                self.opened.popitem(last=False)
        self.opened.move_to_end(level)
        return self.opened[level]

    def after(self, level: int, image: np.ndarray, found: Any) -> Any:
        return self.network(level)(image)  # from the image on: these files do not pass features on


def is_source(path: Path) -> bool:
    """Whether there is something that ``Session`` opens, or a file that it refuses."""
    return path.is_file() or (path / INDEX).is_file() or (path / DESCRIPTION).is_file()


def _opened(source: Any, num_threads: int, cache_dir: Any, keep: int) -> _Files:
    if isinstance(source, Bundle):
        return _Bundled(source, num_threads, cache_dir, keep)
    path = expanded(source)
    if path.suffix != ".tflite" and (path.is_file() or (path / INDEX).is_file()):
        return _Bundled(Bundle(path), num_threads, cache_dir, keep)
    if cache_dir is not None or type(keep) is not int or keep < 1:
        raise ValueError(
            f"keep must be a positive integer, and cache_dir is for bundles, received {keep!r} and {cache_dir!r}"
        )
    if path.suffix != ".tflite" or path.is_dir():
        record, files = _described(path / DESCRIPTION)
        return _Loose(record, files, num_threads, keep)
    named = re.fullmatch(r"level_(\d{1,3})", path.stem)
    if (path.parent / DESCRIPTION).is_file():
        record, _ = _described(path.parent / DESCRIPTION)
    else:
        network = _interpreted(path, num_threads)
        height, width, channels = network.input_shape[1:]
        record = (height, width, channels), None, network.output_shapes["scores"][2]
        _check_sides(record[0], path)
    return _Loose(record, {int(named[1]) if named else 0: path}, num_threads, keep)


def _interpreted(path: Path, num_threads: int) -> Interpreted:
    """A file whose graph and outputs are those of a detector."""
    data = read_limited(path, MAX_BYTES)
    try:
        check_graph(data)
        network = Interpreted(data, num_threads, name=str(path))
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"{shown(path)} is damaged, it cannot be opened: {error}") from None
    image, shapes = network.input_shape, network.output_shapes
    boxes, scores = (shapes.get(name, ()) for name in ("boxes", "scores"))
    sound = len(image) == 4 and image[0] == 1 and len(boxes) == len(scores) == 3 and boxes == (1, scores[1], 4)
    if not sound or not 0 < scores[2] <= MAX_CLASSES or not 0 < scores[1] * scores[2] <= MAX_SCORES:
        raise ValueError(f"{shown(path)} is not the file of a detector: {image} to {shapes}")
    return network


def _described(path: Path) -> tuple[tuple[tuple[int, int, int], list[str] | None, int], dict[int, Path]]:
    """Size of the images, names of the classes, their number; and the file of each level."""
    record = read_json(path, MAX_JSON)
    try:
        if record["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version must be {FORMAT_VERSION}")
        shape, count, labels, rows = (record[name] for name in ("input_shape", "num_classes", "labels", "levels"))
        height, width, channels = shape
        _check_sides((height, width, channels), path)
        named = labels is None or (len(labels) == count and all(isinstance(name, str) for name in labels))
        if type(count) is not int or not 0 < count <= MAX_CLASSES or not named or not rows:
            raise ValueError("num_classes, labels or levels are not those of a detector")
        # The names of files are made here, not read, so that none lies elsewhere.
        levels = [row["level"] for row in rows]
        files = {level: path.parent / FILE.format(level) for level in levels if _is_level(level)}
        if len(files) != len(rows):
            raise ValueError("levels must be integers of at least 0, each once")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{shown(path)} does not describe a detector: {type(error).__name__}: {error}") from None
    return ((height, width, channels), labels, count), files


def _check_sides(shape: tuple[int, int, int], path: str | os.PathLike) -> None:
    sides = all(type(n) is int and 0 < n <= MAX_SIDE for n in shape[:2])
    if not sides or shape[2] not in (1, 3):
        raise ValueError(
            f"{shown(path)}: images must have sides up to {MAX_SIDE} and 1 or 3 channels, received {shape}"
        )


def _is_level(level: Any) -> bool:
    return type(level) is int and 0 <= level < MAX_LEVELS
