"""Where the networks of a detector come from: a bundle, or TFLite files. Without TensorFlow."""

import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ds_keras.core.files import expanded, read_json, read_limited, shown
from ds_keras.detection.routing.cascade import DetectionCascade
from ds_keras.policies.base import RoutingSpec
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.graph_check import check_graph
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.manifest import DETECTION, INDEX, MAX_CLASSES, MAX_SCORES, routing_spec, task_of, whole
from ds_keras.runtime.network import Interpreted

FORMAT_VERSION = 1
DESCRIPTION, FILE = "detector.json", "level_{}.tflite"
MAX_BYTES, MAX_JSON, MAX_SIDE, MAX_LEVELS, MAX_MADDS = 1 << 30, 1 << 20, 8192, 1000, 1 << 53


class Files(Protocol):
    """Where the networks of a detector come from."""

    shape: tuple[int, int, int]
    labels: list[str] | None
    num_classes: int
    levels: list[int]  # smallest first
    spec: RoutingSpec | None  # multiply-adds of the levels; None where the files do not say
    cascade: DetectionCascade | None

    def network(self, level: int) -> Any:
        """A level, opened: images to a dict with "boxes" and "scores"."""
        ...

    def after(self, level: int, image: np.ndarray, found: Any) -> Any:
        """What a level gives for an image for which a smaller level gave ``found``."""
        ...

    def keeping(self, levels: int) -> AbstractContextManager[Any]:
        """So many levels stay open inside."""
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
        self.spec: RoutingSpec | None = replace(routing_spec(manifest), gate=0.0)
        self.cascade = DetectionCascade.of_bundle(manifest)
        self.opened = Levels(bundle, num_threads, cache_dir, keep, "interpreter", weight_cache=False)

    def network(self, level: int) -> Any:
        return self.opened.entry(level)

    def after(self, level: int, image: np.ndarray, found: Any) -> Any:
        return self.opened.body(level)(found["features"])

    def keeping(self, levels: int) -> AbstractContextManager[Any]:
        return self.opened.keeping(2 * levels)  # from the image on, and from the features on


class _Loose:
    """A TFLite file for each level."""

    cascade: DetectionCascade | None = None

    def __init__(self, record: Any, files: dict[int, Path], num_threads: int, keep: int, costs: Any = None):
        self.shape, self.labels, self.num_classes = record
        self.files, self.num_threads, self.keep = files, num_threads, keep
        self.levels = sorted(files)
        self.spec: RoutingSpec | None = None
        if costs and self.levels == list(range(len(costs))):  # each file begins anew: all of it is body
            self.spec = RoutingSpec(0.0, 0.0, tuple(costs[level] for level in self.levels), (0, self.levels[-1]))
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

    @contextmanager
    def keeping(self, levels: int) -> Iterator[None]:
        kept, self.keep = self.keep, max(self.keep, levels)
        try:
            yield
        finally:
            self.keep = kept


def is_source(path: Path) -> bool:
    """Whether there is something that ``Session`` opens, or a file that it refuses."""
    return path.is_file() or (path / INDEX).is_file() or (path / DESCRIPTION).is_file()


def open_files(source: Any, num_threads: int, cache_dir: Any, keep: int) -> Files:
    """The networks of a detector; arguments as of ``Session``."""
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
        record, files, costs = _described(path / DESCRIPTION)
        return _Loose(record, files, num_threads, keep, costs)
    named = re.fullmatch(r"level_(\d{1,3})", path.stem)
    if (path.parent / DESCRIPTION).is_file():
        record, _, _ = _described(path.parent / DESCRIPTION)
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


def _described(path: Path) -> tuple[tuple[Any, list[str] | None, int], dict[int, Path], dict[int, int]]:
    """Size of the images, names of the classes, their number; the file of each level, and its multiply-adds."""
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
        costs = {row["level"]: whole(row["madds"], 1, MAX_MADDS) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{shown(path)} does not describe a detector: {type(error).__name__}: {error}") from None
    return ((height, width, channels), labels, count), files, costs


def _check_sides(shape: tuple[int, int, int], path: str | os.PathLike) -> None:
    sides = all(type(n) is int and 0 < n <= MAX_SIDE for n in shape[:2])
    if not sides or shape[2] not in (1, 3):
        raise ValueError(
            f"{shown(path)}: images must have sides up to {MAX_SIDE} and 1 or 3 channels, received {shape}"
        )


def _is_level(level: Any) -> bool:
    return type(level) is int and 0 <= level < MAX_LEVELS
