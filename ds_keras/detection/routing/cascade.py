"""The cascade of a detector: levels, what each costs, and the thresholds for a budget. NumPy only."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ds_keras.core.files import expanded, read_json, shown, write_json
from ds_keras.detection.routing.confidence import CONFIDENCES, DEFAULT, confidence
from ds_keras.policies.base import RoutingSpec
from ds_keras.policies.budget_table import BudgetTable, Times
from ds_keras.policies.cascade import Cascade, check_chain
from ds_keras.runtime.manifest import confidence_of, routing_spec

MAX_BYTES, FORMAT_VERSION = 1 << 20, 1


@dataclass(frozen=True)
class DetectionCascade:
    """Levels one after another, until one is sure of its boxes.

    Args:
        spec: multiply-adds of start and bodies, and the levels of the cascade.
        budgets: thresholds with their average cost and mAP@0.5 on held-out images, under "cascade".
        confidence: see ``confidence``.
        thresholds: (levels of the cascade - 1,) in use; None for those that cost as much as the largest level.

    Example:
        >>> cascade = DetectionCascade.read("routing.json").at(fraction=0.5)
        >>> session.detect(photos, cascade=cascade)
    """

    spec: RoutingSpec
    budgets: BudgetTable
    confidence: str = DEFAULT
    thresholds: tuple[float, ...] | None = None

    @property
    def policy(self) -> Cascade:
        """The rule."""
        return Cascade(self.spec)

    @property
    def settings(self) -> np.ndarray:
        """(levels of the cascade - 1,) float32: the thresholds in use."""
        used = self.at(fraction=1.0).thresholds if self.thresholds is None else self.thresholds
        return np.array(used, "float32")

    def at(
        self,
        fraction: float | None = None,
        madds: float | None = None,
        milliseconds: float | None = None,
        times: Times | None = None,
    ) -> "DetectionCascade":
        """The cascade with the thresholds that meet an average cost.

        Args:
            fraction: average multiply-adds as a fraction of the largest level's, at most 1; or
            madds: average multiply-adds; or
            milliseconds: average time of a photo on a device, with
            times: of its parts there.

        Returns:
            The cascade.

        Raises:
            ValueError: see ``BudgetTable.settings_at``.
        """
        found = self.budgets.settings_at(Cascade.name, self.spec.largest, fraction, madds, milliseconds, times)
        return replace(self, thresholds=tuple(found.tolist()))

    def run(
        self, first: Callable[[int], Any], follow: Callable[[int], Any], scores: Callable[[Any], np.ndarray]
    ) -> tuple[Any, int, float]:
        """Runs one photo.

        Args:
            first: runs the first level of the cascade.
            follow: runs a later one.
            scores: of what a level gave: the scores of the boxes that are left of overlapping ones.

        Returns:
            (what the last level that ran gave, that level, multiply-adds of all that ran).
        """
        settings, order, run, madds = self.settings, self.spec.cascade, first, self.spec.start
        for step, level in enumerate(order):
            found, run = run(level), follow
            madds += self.spec.bodies[level]
            if step + 1 == len(order) or not self.goes_on(scores(found), step, settings):
                break
        return found, level, float(madds)

    def goes_on(self, scores: np.ndarray, step: int, settings: np.ndarray) -> bool:
        """Whether a photo goes on to the next level: of the scores of the boxes that a level found on it."""
        return bool(self.policy.continues(confidence(scores, self.confidence), step, settings))

    def check_fits(self, detector: Any) -> None:
        """Refuses a cascade that was chosen for another detector.

        Args:
            detector: ``DSDetector`` or ``Session``: what has the multiply-adds of its levels as ``spec``.

        Raises:
            ValueError: it has other levels, or levels of another cost.
        """
        if detector.spec is None:
            raise ValueError("cascade needs a bundle, or files of every level with detector.json beside them")
        ours, theirs = ([spec.start + body for body in spec.bodies] for spec in (self.spec, detector.spec))
        if len(ours) != len(theirs):
            raise ValueError(
                f"cascade must be of the levels {list(range(len(theirs)))}, received one of {len(ours)} levels"
            )
        if ours != theirs:
            raise ValueError(
                f"cascade must be of this detector, whose levels cost {theirs} multiply-adds; received one of levels "
                f"that cost {ours}"
            )

    def policy_record(self) -> dict[str, Any]:
        """What ``bundle.json`` says of the cascade, in its section "policy": ``of_bundle`` reads it."""
        return {
            "cascade": list(self.spec.cascade),
            "confidence": self.confidence,
            "knobs": {"gate": [0.0], "cascade": list(self.thresholds or self.settings.tolist())},
            "budget_table": self.budgets.to_json(),
        }

    @classmethod
    def of_bundle(cls, manifest: dict[str, Any]) -> "DetectionCascade | None":
        """The cascade of a bundle.

        Args:
            manifest: of the bundle, checked.

        Returns:
            The cascade at the thresholds that it was written with; None where the bundle has none.
        """
        name, policy = confidence_of(manifest), manifest["policy"]
        if name is None:
            return None
        spec, budgets = replace(routing_spec(manifest), gate=0.0), BudgetTable.from_json(policy["budget_table"])
        return cls(spec, budgets, name, tuple(policy["knobs"][Cascade.name]))

    def write(self, path: str | os.PathLike) -> None:
        """Writes a JSON file that ``read`` reads."""
        spec = self.spec
        record = {
            "format_version": FORMAT_VERSION,
            "start": spec.start,
            "bodies": list(spec.bodies),
            "cascade": list(spec.cascade),
            "confidence": self.confidence,
            "thresholds": None if self.thresholds is None else list(self.thresholds),
            "budget_table": self.budgets.to_json(),
        }
        write_json(expanded(path), record)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "DetectionCascade":
        """Reads what ``write`` wrote.

        Args:
            path: of the file.

        Returns:
            The cascade.

        Raises:
            ValueError: a damaged file; the message names it.
        """
        path = expanded(path)
        record = read_json(path, MAX_BYTES)
        try:
            if record["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format_version must be {FORMAT_VERSION}, received {record['format_version']!r}")
            costs = [record["start"], *record["bodies"]]
            if len(costs) < 3 or not all(type(n) in (int, float) and 0 <= n < 1e15 for n in costs) or not costs[-1]:
                raise ValueError("start and bodies must be multiply-adds")
            chain, thresholds = check_chain(record["cascade"], len(costs) - 1), record["thresholds"]
            budgets = BudgetTable.from_json(record["budget_table"], len(costs) - 1, chain)
            if record["confidence"] not in CONFIDENCES or not budgets.of(Cascade.name):
                raise ValueError(f"confidence must be one of {', '.join(CONFIDENCES)}, with rows of the cascade")
            if thresholds is not None:
                plain = all(type(n) in (int, float) and math.isfinite(n) for n in thresholds)
                if len(thresholds) != len(chain) - 1 or not plain:
                    raise ValueError("thresholds must be a finite number for each level but the last")
                thresholds = tuple(thresholds)
            spec = RoutingSpec(costs[0], 0.0, tuple(costs[1:]), chain)
            return cls(spec, budgets, record["confidence"], thresholds)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{shown(path)} does not describe a cascade: {type(error).__name__}: {error}") from None
