"""Chooses the cascade of a detector on held-out images, and measures what it is worth on others. NumPy only."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.detection.boxes import Detections
from ds_keras.detection.evaluation import BATCH, average_precision, check_classes
from ds_keras.detection.routing.cascade import DetectionCascade
from ds_keras.detection.routing.confidence import DEFAULT, LEAST, confidence
from ds_keras.policies.base import RoutingSpec
from ds_keras.policies.budget_table import BudgetRow, BudgetTable
from ds_keras.policies.cascade import Cascade, check_chain
from ds_keras.policies.cascade_search import spread_thresholds

if TYPE_CHECKING:
    from ds_keras.detection.data.source import Boxes, BoxSource

FRACTIONS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)  # budgets of a comparison


@dataclass(frozen=True)
class Predictions:
    """What every level found on a set of images: one pass serves every cascade.

    Args:
        found: for each level, smallest first, what it found on each image, scores of 0.01 included.
        truth: the boxes on each image.
        class_names: of the classes.
        spec: multiply-adds of the detector's parts.
    """

    found: Sequence[Sequence[Detections]]
    truth: "Sequence[Boxes]"
    class_names: Sequence[str]
    spec: RoutingSpec

    def __len__(self) -> int:
        return len(self.truth)

    @functools.cached_property
    def fixed(self) -> list[dict[str, Any]]:
        """Multiply-adds and average precision of every level."""
        costs = self.spec.start + np.array(self.spec.bodies, "float64")
        return [{"madds": float(costs[k]), **self.precision(np.full(len(self), k))} for k in range(len(costs))]

    def sure(self, level: int, name: str) -> np.ndarray:
        """(count,) confidence of a level on each image."""
        return np.array([confidence(found.scores, name) for found in self.found[level]], "float32")

    def precision(self, levels: np.ndarray) -> dict[str, Any]:
        """Average precision where each image runs at the level that is given for it: (count,) integers."""
        return average_precision([self.found[k][i] for i, k in enumerate(levels)], self.truth, self.class_names)

    def routed(self, cascade: DetectionCascade) -> tuple[np.ndarray, np.ndarray]:
        """The last level of each image under a cascade: (count,), and the bodies that run for it: (count, levels)."""

        def last(i: int) -> int:
            return cascade.run(lambda k: self.found[k][i], lambda k: self.found[k][i], lambda one: one.scores)[1]

        levels, every = np.array([last(i) for i in range(len(self))]), np.arange(self.spec.num_levels)
        passes = np.isin(every, cascade.spec.cascade) & (every <= levels[:, None])
        return levels, passes.astype("float64")


def predict(detector: Any, source: "BoxSource", spec: RoutingSpec | None = None) -> Predictions:
    """Runs every level on a set of images.

    Args:
        detector: ``DSDetector`` or ``Session``.
        source: the images.
        spec: multiply-adds of the detector's parts; default those that it knows.

    Returns:
        ``Predictions``.

    Raises:
        ValueError: other classes than the detector's, an image that cannot be read, or no ``spec`` where the detector
            does not know one: a session of a single file.
    """
    check_classes(detector, source)
    spec = detector.spec if spec is None else spec
    if spec is None:
        raise ValueError("spec must be given for a session of a single file, which does not say what its levels cost")
    found: list[list[Detections]] = [[] for _ in spec.bodies]
    for i in range(0, len(source), BATCH):
        images = [source.image(k) for k in range(i, min(i + BATCH, len(source)))]
        for level, sofar in enumerate(found):
            sofar += detector.detect(images, level=level, threshold=LEAST)
    return Predictions(found, source.things, source.class_names, spec)


def fit(
    held_out: Predictions, points: int = 21, chain: tuple[int, int] | None = None, name: str = DEFAULT
) -> DetectionCascade:
    """Chooses the two levels of a cascade, and measures thresholds, on images that the detector was not trained on.

    Args:
        held_out: of these images.
        points: thresholds, evenly spaced in the share of the images that go on.
        chain: two levels, the smaller one first; default the pair with the best mAP@0.5 on average over all budgets.
        name: of the confidence, see ``confidence``.

    Returns:
        The cascade, with a row of its budget table for each threshold.

    Raises:
        ValueError: a bad chain, or fewer than two points.
        ImportError: pycocotools is missing.

    Example:
        >>> cascade = fit(predict(model, sets.val)).at(fraction=0.5)
    """
    if not isinstance(points, int) or points < 2:
        raise ValueError(f"points must be an integer of at least 2, received {points!r}")
    count = held_out.spec.num_levels
    if chain is not None and len(check_chain(chain, count)) != 2:
        raise ValueError(f"chain must be two levels, received {chain!r}")
    costs = np.linspace(held_out.fixed[0]["madds"], held_out.fixed[-1]["madds"], 200)

    def area(cascade: DetectionCascade) -> float:  # what costs less than its first level, the smallest level does
        rows = cascade.budgets.of(Cascade.name)
        along = [row.madds for row in rows], [row.accuracy for row in rows]
        return float(np.interp(costs, *along, left=held_out.fixed[0]["map50"]).mean())

    chains = [chain] if chain is not None else list(combinations(range(count), 2))
    return max((_measured(held_out, each, points, name) for each in chains), key=area)


def compare(test: Predictions, cascade: DetectionCascade) -> list[dict[str, Any]]:
    """What a cascade costs and scores on other images than those that it was chosen on, beside fixed levels.

    Args:
        test: of images that the cascade was not chosen on.
        cascade: see ``fit``.

    Returns:
        Rows {"what", "madds", "map50", "map", "static"}: every fixed level, then the cascade at each budget in reach;
        ``static`` is mAP@0.5 of fixed levels at the same cost, interpolated between neighbours.

    Raises:
        ImportError: pycocotools is missing.
    """
    rows = [{"what": f"level {k}", **row, "static": row["map50"]} for k, row in enumerate(test.fixed)]
    costs, scores = ([row[key] for row in test.fixed] for key in ("madds", "map50"))
    lowest = cascade.budgets.of(Cascade.name)[0].madds
    for fraction in FRACTIONS:
        if fraction * cascade.spec.largest < lowest:
            continue
        levels, passes = test.routed(cascade.at(fraction=fraction))
        spent = float(cascade.policy.madds(passes).mean())
        found = {**test.precision(levels), "static": float(np.interp(spent, costs, scores))}
        rows.append({"what": f"cascade, budget {100 * fraction:.0f} %", "madds": spent, **found})
    return rows


def _measured(held_out: Predictions, chain: tuple[int, ...], points: int, name: str) -> DetectionCascade:
    """A pair of levels with a row for each threshold."""
    old = held_out.spec
    spec, rows = RoutingSpec(old.start, old.gate, old.bodies, chain), []
    for threshold in spread_thresholds(held_out.sure(chain[0], name), points).tolist():
        levels, passes = held_out.routed(DetectionCascade(spec, BudgetTable({}), name, (threshold,)))
        shares, score = passes.mean(0), held_out.precision(levels)["map50"]
        madds = float(Cascade(spec).madds(shares))
        rows.append(BudgetRow((threshold,), madds, score, tuple(shares.round(6).tolist())))
    return DetectionCascade(spec, BudgetTable({Cascade.name: tuple(sorted(rows, key=lambda row: row.madds))}), name)
