"""Runs photos through a detector in Keras: at a level, or under a cascade."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from ds_keras.detection.boxes import choose
from ds_keras.detection.evaluation import LEAST
from ds_keras.detection.routing.cascade import DetectionCascade
from ds_keras.routing.graph import BatchGraph

EAGER = 4  # batches of a level before it is traced, which takes about as long as so many without a graph

Found = tuple[np.ndarray, np.ndarray]  # boxes (locations, 4) and scores (locations, classes) of one photo


class Photos:
    """Runs photos through a detector.

    Args:
        model: ``DSDetector``.
    """

    def __init__(self, model: Any):
        self.model, self.ran = model, Counter[int]()
        self.graph = BatchGraph(self._results)

    def run(self, x: np.ndarray, level: int) -> Iterator[Found]:
        """Runs a level.

        Args:
            x: (batch, height, width, channels) of the network's size.
            level: of the network.

        Returns:
            For each image boxes and scores.
        """
        self.ran[level] += 1
        run = self.graph if self.ran[level] > EAGER else self._results
        found = run(tf.convert_to_tensor(x), level)
        return zip(np.asarray(found["boxes"]), np.asarray(found["scores"]), strict=True)

    def in_turn(self, x: np.ndarray, cascade: DetectionCascade) -> Iterator[Found]:
        """Runs a cascade: its first level on all images, a further one on each image that goes on.

        Args:
            x: see ``run``.
            cascade: of the detector.

        Returns:
            For each image what its last level found.
        """
        for i, found in enumerate(self.run(x, cascade.spec.cascade[0])):
            yield self._one_in_turn(x[i : i + 1], found, cascade)

    def _one_in_turn(self, image: np.ndarray, first: Found, cascade: DetectionCascade) -> Found:
        def follow(level: int) -> Found:
            return next(self.run(image, level))

        def scores(found: Found) -> np.ndarray:
            boxes, scores = found
            return choose(boxes, scores, LEAST).scores

        return cascade.run(lambda _: first, follow, scores)[0]

    def _results(self, x: Any, level: int) -> dict[str, Any]:
        return self.model.results(self.model(x, level=level))
