"""Runs a detector's files, without TensorFlow: NumPy, Pillow and LiteRT."""

import os
import threading
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np

from ds_keras.detection.boxes import IOU, MOST, SHOWN, Detections, check_choice, choose, stretched
from ds_keras.detection.files import open_files
from ds_keras.detection.routing.cascade import DetectionCascade
from ds_keras.detection.routing.confidence import LEAST
from ds_keras.photos.preprocessing import listed
from ds_keras.policies.budget_table import Times
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.network import to_array
from ds_keras.runtime.times import check_rounds, medians

TIMED = 4  # photos that the parts are timed on where a budget in milliseconds is asked for


class Session:
    """A detector in LiteRT. Safe to share between threads: one photo runs at a time.

    A level's network is made and opened when it is first used. ``cascade`` is the one that the bundle holds, or None;
    ``times`` are those of ``benchmark``, or None before it ran.

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
        self.spec, self.cascade = self._files.spec, self._files.cascade
        self.times: Times | None = None
        self._lock = threading.RLock()

    def detect(
        self,
        images: Any,
        level: int | None = None,
        threshold: float = SHOWN,
        iou: float = IOU,
        most: int = MOST,
        cascade: DetectionCascade | None = None,
        budget: float | None = None,
        milliseconds: float | None = None,
    ) -> list[Detections]:
        """Finds things on photos of any size: as ``DSDetector.detect``.

        Args:
            images: a photo, or a list of them, or an array of several.
            level: default the largest; or
            cascade: picks the levels of each photo, see ``detection.routing``; a bundle's larger levels go on from the
                features of the first. Default, where a budget is given, the one that the bundle holds.
            threshold: smallest score of what is given.
            iou: boxes of a class count as one thing where their intersection over union is larger.
            most: boxes for each photo.
            budget: of the cascade: average multiply-adds as a fraction of the largest level's, at most 1; or
            milliseconds: average time of a photo on this device, from the image of the network's size to what
                ``run_in_turn`` gives; ``benchmark`` runs first where it has not run yet.

        Returns:
            For each photo its ``Detections``.

        Raises:
            ValueError: a photo or a file that cannot be read, a budget without a cascade or out of its reach, or
                another bad argument.
            FileNotFoundError: no such photo.

        Example:
            >>> session.detect(photos, budget=0.5)
        """
        check_choice(threshold, iou, most)
        photos = listed(images)
        cascade = self._asked(photos, level, cascade, budget, milliseconds)
        found = []
        for photo in photos:
            image = stretched(photo, self.shape)
            boxes, scores = self.run(image, level) if cascade is None else self.run_in_turn(image, cascade)[:2]
            found.append(choose(boxes, scores, threshold, iou, most, self.labels))
        return found

    def _asked(
        self, photos: Any, level: Any, cascade: DetectionCascade | None, budget: Any, milliseconds: Any
    ) -> DetectionCascade | None:
        """The cascade that the arguments of ``detect`` ask for, at its budget; None for a fixed level."""
        if cascade is None and budget is None and milliseconds is None:
            return None
        if level is not None:
            raise ValueError(f"give level or cascade, received level={level!r} and a cascade or its budget")
        if budget is not None and milliseconds is not None:
            raise ValueError(
                f"give budget or milliseconds, received budget={budget!r} and milliseconds={milliseconds!r}"
            )
        plain = budget is None or (isinstance(budget, int | float | np.number) and budget <= 1)
        if not plain:
            raise ValueError(f"budget must be a number of at most 1, the largest level's cost, received {budget!r}")
        found = self._cascade(cascade)
        if not len(photos) or (budget is None and milliseconds is None):
            return found
        if milliseconds is not None and self.times is None:
            self.benchmark(photos[:TIMED], found)
        return found.at(fraction=budget, milliseconds=milliseconds, times=self.times)

    def _cascade(self, given: DetectionCascade | None) -> DetectionCascade:
        """The cascade that was given, if it is of this detector, or the bundle's own."""
        if given is not None:
            given.check_fits(self)
        found = given or self.cascade
        if found is None:
            raise ValueError(
                "cascade must be given, as there is none in these files: ds-keras route_detector chooses one, and "
                "to_bundle(..., cascade=...) puts it into a bundle"
            )
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

    def run_in_turn(
        self, image: np.ndarray, cascade: DetectionCascade | None = None
    ) -> tuple[np.ndarray, np.ndarray, int, float]:
        """What a cascade gives for one image: as ``run``, with the level that answered and what it cost.

        Args:
            image: (height, width, channels) of the network's size, in [0, 255].
            cascade: see ``detection.routing``; default the bundle's.

        Returns:
            Boxes (locations, 4), scores (locations, classes), the level, and the multiply-adds of all that ran.

        Raises:
            ValueError: another shape, no cascade or another detector's, or a damaged file.
        """
        cascade, batch, found = self._cascade(cascade), self._checked(image), {}

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

    def keeping(self, levels: int) -> AbstractContextManager[Any]:
        """Inside, so many levels stay open: for what is timed."""
        return self._files.keeping(levels)

    def benchmark(self, photos: Any, cascade: DetectionCascade | None = None, rounds: int = 30) -> Times:
        """Times the parts of a cascade on this device, for budgets in milliseconds; kept as ``times``.

        Args:
            photos: as of ``detect``; a few are enough.
            cascade: see ``detection.routing``; default the bundle's.
            rounds: times that each part runs on each photo; the median counts.

        Returns:
            ``Times``, milliseconds of one photo, from the image of the network's size on.

        Raises:
            ValueError: no photo, rounds below 1, or no cascade or another detector's.

        Example:
            >>> cascade.at(milliseconds=30, times=session.benchmark(photos, cascade))
        """
        cascade = self._cascade(cascade)
        images = [stretched(photo, self.shape) for photo in listed(photos)]
        check_rounds(len(images), rounds)
        first = cascade.spec.cascade[0]
        stays = replace(cascade, thresholds=(-np.inf,) * (len(cascade.spec.cascade) - 1))
        with self._lock, self.keeping(len(self.levels)):  # else files would be made while others are timed
            batches = [self._checked(image) for image in images]
            inputs = [(batch, dict(self._files.network(first)(batch))) for batch in batches]
            bodies = [(lambda given, k=k: self._files.after(k, *given), inputs) for k in self.levels]
            whole = [(lambda image: self.run(image, first), images)]
            judged = [(lambda image: self.run_in_turn(image, stays), images)]
            alone, in_turn, *parts = medians([*whole, *judged, *bodies], len(images), rounds)
        self.times = Times(max(alone - parts[first], 0.0), parts, max(in_turn - alone, 0.0))
        return self.times

    def _checked(self, image: np.ndarray) -> np.ndarray:
        """The image as a batch."""
        image = np.asarray(image)
        if image.shape != self.shape:
            raise ValueError(f"image must have shape {self.shape}, received {image.shape}")
        return image[None].astype(np.float32)
