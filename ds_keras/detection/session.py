"""Runs a detector's files, without TensorFlow: NumPy, Pillow and LiteRT."""

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.detection.boxes import Detections, check_choice, choose, stretched
from ds_keras.detection.files import open_files
from ds_keras.detection.routing.confidence import LEAST
from ds_keras.photos.preprocessing import listed
from ds_keras.policies.budget_table import Times
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.network import to_array
from ds_keras.runtime.times import check_rounds, medians

if TYPE_CHECKING:
    from ds_keras.detection.routing import DetectionCascade


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
        self._files = open_files(source, num_threads, cache_dir, keep)
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
        self._check_cascade(cascade)
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

    def benchmark(self, photos: Any, cascade: "DetectionCascade", rounds: int = 30) -> Times:
        """Times the parts of a cascade on this device, for ``cascade.at(milliseconds=..., times=...)``.

        Args:
            photos: as of ``detect``; a few are enough.
            cascade: see ``detection.routing``.
            rounds: times that each part runs on each photo; the median counts.

        Returns:
            ``Times``, milliseconds of one photo, from the image of the network's size on.

        Raises:
            ValueError: no photo, rounds below 1, or a cascade of other levels.

        Example:
            >>> cascade = cascade.at(milliseconds=30, times=session.benchmark(photos, cascade))
        """
        self._check_cascade(cascade)
        images = [stretched(photo, self.shape) for photo in listed(photos)]
        check_rounds(len(images), rounds)
        first = cascade.spec.cascade[0]
        stays = replace(cascade, thresholds=(-np.inf,) * (len(cascade.spec.cascade) - 1))
        with self._files.keeping(len(self.levels)):  # else files would be made while others are timed
            batches = [self._checked(image) for image in images]
            inputs = [(batch, dict(self._files.network(first)(batch))) for batch in batches]
            bodies = [(lambda given, k=k: self._files.after(k, *given), inputs) for k in self.levels]
            whole = [(lambda image: self.run(image, first), images)]
            judged = [(lambda image: self.run_in_turn(image, stays), images)]
            alone, in_turn, *parts = medians([*whole, *judged, *bodies], len(images), rounds)
        return Times(max(alone - parts[first], 0.0), parts, max(in_turn - alone, 0.0))

    def _check_cascade(self, cascade: "DetectionCascade") -> None:
        if list(range(cascade.spec.num_levels)) != self.levels:
            raise ValueError(f"cascade must be of the levels {self.levels}, received {cascade.spec.num_levels} levels")

    def _checked(self, image: np.ndarray) -> np.ndarray:
        """The image as a batch."""
        image = np.asarray(image)
        if image.shape != self.shape:
            raise ValueError(f"image must have shape {self.shape}, received {image.shape}")
        return image[None].astype(np.float32)
