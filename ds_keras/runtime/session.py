"""Runs a bundle with LiteRT: the shared start and the gate once, then the level that the policy picks."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.policies import (
    LEARNED,
    Policy,
    Routed,
    Times,
    check_belongs,
    check_fixed_level,
    check_policy,
    draw_levels,
    knobs_at,
    margin,
)
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.network import to_array
from ds_keras.runtime.times import measure

POLICIES = (*LEARNED, "random")  # those that need no labels


class Session:
    """A bundle, ready to run. Safe to share between threads: one image runs at a time.

    Levels are made (see ``materialize``) and opened when they are first used.

    Args:
        bundle: what ``ds_keras.export.to_bundle`` wrote: a directory or a file, or a ``Bundle``.
        num_threads: of LiteRT.
        cache_dir: keeps the files of the levels for the next start; None makes them in memory.
        keep: levels that stay open; the one unused for longest is closed first.
        engine: of LiteRT: "interpreter", or "compiled" (CompiledModel: the features pass from the shared start to the
            level without a copy).
        weight_cache: keeps XNNPACK's packed weights in ``cache_dir`` too, which later starts map instead of packing
            them again; with engine="compiled" only.

    Raises:
        ValueError: bad argument, not a bundle, or a damaged one.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> session = Session("ds_mobilenet.dsbundle", cache_dir="cache")
        >>> session.run(images).levels
    """

    def __init__(
        self,
        bundle: str | os.PathLike | Bundle,
        num_threads: int = 1,
        cache_dir: str | os.PathLike | None = None,
        keep: int = 3,
        engine: str = "interpreter",
        weight_cache: bool = False,
    ):
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
        self.manifest = self.bundle.manifest
        self.num_threads = num_threads
        self._levels = Levels(self.bundle, num_threads, cache_dir, keep, engine, weight_cache)
        policy = self.manifest["policy"]
        self.default_policy: Policy = policy["default"]
        self.knobs = {name: np.array(knobs, "float32") for name, knobs in policy["knobs"].items()}
        self.times: Times | None = None  # of ``benchmark``
        self.labels: list[str] | None = self.manifest["labels"]
        self.image_shape = tuple(self.manifest["image_shape"])
        body = np.array(self.manifest["madds"]["body"], "float64")
        self._relative = body / body[-1]
        self._lock = threading.RLock()

    @property
    def num_levels(self) -> int:
        """Levels of the bundle."""
        return len(self.manifest["levels"])

    def run(
        self,
        images: Any,
        level: int | None = None,
        policy: Policy | None = None,
        budget: float | None = None,
        mix: Any = None,
        seed: int | None = None,
        milliseconds: float | None = None,
    ) -> Routed:
        """Routes and runs images; images of one level run one after another.

        Args:
            images: (count, height, width, channels) in [0, 255], uint8 or float.
            level: runs all at this level; or
            policy: "gate", "cascade", "random" or a level; default ``default_policy``.
            budget: average MAdds as a fraction of the largest level's, for this call only ("gate" and "cascade").
            mix: (levels,) probabilities, for "random"; default equal.
            seed: of "random".
            milliseconds: instead of ``budget``: average time of an image, see ``set_budget``.

        Returns:
            ``Routed(logits, levels, madds)`` of numpy arrays.

        Raises:
            ValueError: bad argument, or a damaged part.
        """
        if level is not None and policy is not None:
            raise ValueError(f"give level or policy, received level={level!r} and policy={policy!r}")
        if level is not None:
            policy = check_fixed_level(level, self.num_levels)
        else:
            policy = check_policy(self.default_policy if policy is None else policy, self.num_levels, POLICIES)
        check_belongs(policy, mix=mix, seed=seed)
        images = self._check_images(images)
        knobs = self.knobs.get(policy)
        if budget is not None or milliseconds is not None:
            knobs = self._knobs(policy, fraction=budget, milliseconds=milliseconds)
        with self._lock:
            if policy == "cascade":
                return self._cascade(images, knobs)
            if len(images) == 1 and policy != "random":
                return self._one(images[0], policy, knobs)
            costs = self.manifest["madds"]
            features, gates = [], []
            for image in images:
                found = self._start(image)
                features.append(found["features"])
                gates.append(found["gate"])
            if policy == "gate":
                levels = [self._chosen(gate, knobs) for gate in gates]
            elif policy == "random":
                levels = draw_levels(mix, self.num_levels, len(images), seed).tolist()
            else:
                levels = [policy] * len(images)
            paid = costs["start"] + costs["gate"] * (policy == "gate")
            return self._collect(self._bodies(features, levels), levels, [paid + costs["body"][k] for k in levels])

    def set_budget(
        self,
        fraction: float | None = None,
        madds: float | None = None,
        policy: Policy | None = None,
        milliseconds: float | None = None,
    ) -> None:
        """Sets the knobs of a policy so that it spends a given average cost, from the bundle's table.

        Args:
            fraction: average MAdds as a fraction of the largest level's; or
            madds: average MAdds; or
            milliseconds: average time of an image that is run alone, with this session, on this device. ``benchmark``
                runs first where it has not run yet.
            policy: "gate" or "cascade"; default ``default_policy``.

        Raises:
            ValueError: no table, not exactly one budget, or one out of reach (the error names the interval).

        Example:
            >>> session.set_budget(milliseconds=0.5)
        """
        policy = self.default_policy if policy is None else policy
        self.knobs[policy] = self._knobs(policy, fraction, madds, milliseconds)

    def benchmark(self, images: Any = None, rounds: int = 30) -> Times:
        """Measures what the parts of the bundle take on this device, for budgets in milliseconds; kept as ``times``.

        Args:
            images: (count, height, width, channels) in [0, 255], run one by one; default eight of noise, which take as
                long as any others.
            rounds: times that each part is timed, in turn; the median counts.

        Returns:
            ``Times(route, bodies, judge)``, milliseconds of one image.

        Raises:
            ValueError: no image or bad ones, or rounds below 1.

        Example:
            >>> session.benchmark().bodies
        """
        if images is None:
            images = np.random.default_rng(0).uniform(0, 255, (8, *self.image_shape)).astype("float32")
        self.times = measure(self, self._check_images(images), rounds)
        return self.times

    def materialize(self) -> list[Path]:
        """Writes every level's static TFLite file into the cache.

        Returns:
            The paths, smallest level first.

        Raises:
            ValueError: the session has no ``cache_dir``, or a part is damaged.
            OSError: the cache cannot be written.
        """
        if self._levels.cache_dir is None:
            raise ValueError("cache_dir must be given to the session, received None")
        for level in range(self.num_levels):
            self._levels.data(level, keep=True)
        return [self._levels.path(level) for level in range(self.num_levels)]

    def features(self, image: Any) -> np.ndarray:
        """The shared start's output for one image: (1, ...) float32, or the int8 codes that the levels read."""
        with self._lock:
            return to_array(self._start(self._check_images(np.asarray(image)[None])[0])["features"])

    def open(self, level: int) -> None:
        """Makes a level ready to run, which its first use does too."""
        with self._lock:
            self._levels[check_fixed_level(level, self.num_levels)]

    def _knobs(
        self,
        policy: Policy,
        fraction: float | None = None,
        madds: float | None = None,
        milliseconds: float | None = None,
    ) -> np.ndarray:
        costs, table = self.manifest["madds"], self.manifest["policy"]["budget_table"]
        times = self.times
        if milliseconds is not None and times is None:
            times = self.benchmark()
        return knobs_at(table, policy, costs["start"] + costs["body"][-1], fraction, madds, milliseconds, times)

    def _check_images(self, images: Any) -> np.ndarray:
        images = np.asarray(images)
        if images.shape[1:] != self.image_shape or images.ndim != 4 or images.dtype.kind not in "uif":
            raise ValueError(
                f"images must be numbers of shape (count, {', '.join(map(str, self.image_shape))}), "
                f"received {images.dtype} {images.shape}"
            )
        return images

    def _start(self, image: np.ndarray, lend: bool = False) -> dict[str, Any]:
        """Features and gate logits of one checked image; lent, they are good until the next image starts."""
        return self._levels.route(image[None], lend)

    def _chosen(self, gate: np.ndarray, shift: np.ndarray) -> int:
        """The level that the gate's logits (1, levels) choose."""
        return int((gate[0] - shift * self._relative).argmax())

    def _one(self, image: np.ndarray, policy: Policy, knobs: np.ndarray) -> Routed:
        """One image at a level or by the gate: as a batch gives, without its lists and a copy of the features."""
        found, costs = self._start(image, lend=True), self.manifest["madds"]
        gated = policy == "gate"
        level = self._chosen(to_array(found["gate"]), knobs) if gated else policy
        logits = self._levels[level](found["features"])["logits"]
        paid = costs["start"] + costs["gate"] * gated + costs["body"][level]
        return Routed(logits, np.array([level], np.int32), np.array([paid], np.float32))

    def _cascade(self, images: np.ndarray, thresholds: np.ndarray) -> Routed:
        costs, chain = self.manifest["madds"], self.manifest["policy"]["cascade"]
        features = [self._start(image, lend=len(images) == 1)["features"] for image in images]
        logits: list[Any] = [None] * len(images)
        levels, madds, going = [0] * len(images), [costs["start"]] * len(images), list(range(len(images)))
        for step, level in enumerate(chain):  # each level runs what the one before was not sure of
            rows = self._bodies([features[i] for i in going], [level] * len(going))
            for i, row in zip(going, rows, strict=True):
                logits[i], levels[i], madds[i] = row, level, madds[i] + costs["body"][level]
            if step + 1 < len(chain):
                going = [i for i in going if margin(logits[i]) < thresholds[step]]
        return self._collect(logits, levels, madds)

    def _bodies(self, features: list[Any], levels: list[int]) -> list[np.ndarray]:
        """Logits in the order of the images; a level's images run together, so that it is opened once."""
        logits: list[Any] = [None] * len(levels)
        for level in sorted(set(levels)):
            network = self._levels[level]
            for i, chosen in enumerate(levels):
                if chosen == level:
                    logits[i] = network(features[i])["logits"][0]
        return logits

    def _collect(self, logits: list[np.ndarray], levels: list[int], madds: list[float]) -> Routed:
        shape = len(logits), self.manifest["num_classes"]  # np.stack is slow for one row
        rows = np.array(logits, np.float32).reshape(shape)
        return Routed(rows, np.array(levels, np.int32), np.array(madds, np.float32))
