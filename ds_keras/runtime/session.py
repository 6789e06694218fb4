"""Runs a bundle with LiteRT: every image at the level that the policy picks."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras import moved, photos
from ds_keras.policies.base import Policy, PolicyName, Routed
from ds_keras.policies.budget_table import BudgetTable, Times
from ds_keras.policies.registry import check_belongs, check_fixed_level, check_policy, find, names
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.manifest import CLASSIFICATION, routing_spec, task_of
from ds_keras.runtime.network import to_array
from ds_keras.runtime.router import Router
from ds_keras.runtime.times import measure

GIVEN = ("mix", "seed")  # what callers of a session can give besides the images: no labels


class Session:
    """A bundle, ready to run. Safe to share between threads: one image runs at a time.

    A level runs as one static file from the images on; under the cascade this file also gives the features from which
    the larger levels continue. The gate has a file of its own, with the shared start. Files are made (see
    ``materialize``) and opened when they are first used; the first file of the default policy is opened at once.

    Args:
        bundle: what ``ds_keras.export.to_bundle`` wrote: a directory or a file, or a ``Bundle``.
        num_threads: of LiteRT.
        cache_dir: keeps the files for the next start; None makes them in memory.
        keep: files that stay open besides the gate's; the one unused for longest is closed first.
        engine: of LiteRT: "interpreter", or "compiled" (CompiledModel: the features pass from file to file
            without a copy).
        weight_cache: keeps XNNPACK's packed weights in ``cache_dir`` too, which later starts map instead of packing
            them again; with engine="compiled" only.

    Raises:
        ValueError: bad argument, not a bundle of a classifier, or a damaged one.
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
        if task_of(self.manifest) != CLASSIFICATION:
            raise ValueError(f"{self.bundle.path} is a bundle of a detector: open it by ds_keras.detection.Session")
        self.num_threads = num_threads
        self._levels = Levels(self.bundle, num_threads, cache_dir, keep, engine, weight_cache)
        policy = self.manifest["policy"]
        self.default_policy: PolicyName = policy["default"]
        self.settings = {name: np.array(values, "float32") for name, values in policy["knobs"].items()}
        self.budgets = BudgetTable.from_json(policy["budget_table"])
        self.times: Times | None = None  # of ``benchmark``
        self.labels: list[str] | None = self.manifest["labels"]
        self.image_shape = tuple(self.manifest["image_shape"])
        self.preprocessing = photos.Preprocessing.from_json(self.manifest.get("preprocessing"))
        self.spec = routing_spec(self.manifest)
        self.num_levels = self.spec.num_levels
        self.router = Router(self._levels, self.spec, self.manifest["num_classes"])
        alone = *range(self.num_levels), *names(())
        self._policies: dict[PolicyName, Policy] = {policy: find(policy, self.spec) for policy in alone}
        self._lock = threading.RLock()
        first = self.files()[0]
        self._levels.open(first)  # a damaged bundle fails here
        if first == "route":  # which gives no logits
            self._levels.check_classes()

    knobs = moved.alias("Session.knobs", "settings")

    def run(
        self,
        images: Any,
        level: int | None = None,
        policy: PolicyName | None = None,
        budget: float | None = None,
        mix: Any = None,
        seed: int | None = None,
        milliseconds: float | None = None,
    ) -> Routed:
        """Routes and runs images; images of one level run one after another.

        Args:
            images: (count, height, width, channels) in [0, 255], uint8 or float, finite.
            level: runs all at this level; or
            policy: "gate", "cascade", "random" or a level; default ``default_policy``.
            budget: average MAdds as a fraction of the largest level's, at most 1, for this call only ("gate" and
                "cascade").
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
        found = self._find(policy if level is None else check_fixed_level(level, self.num_levels), mix, seed)
        images, key = self._check_images(images), found.key
        settings = self.settings.get(key)
        if budget is not None or milliseconds is not None:
            settings = self._settings(key, fraction=budget, milliseconds=milliseconds)
        with self._lock:
            return found.run(self.router, images, settings)

    def classify(
        self,
        images: Any,
        top: int = 5,
        level: int | None = None,
        policy: PolicyName | None = None,
        budget: float | None = None,
        milliseconds: float | None = None,
    ) -> list[photos.Classification]:
        """Names what is on photos, of any size.

        They are decoded, turned upright, scaled and cropped as the images were that the network was measured on (see
        ``preprocessing``); resized by Pillow, which differs from TensorFlow in fewer than one value in a thousand, by 1
        of 255.

        Args:
            images: a photo, or a list of them: path, encoded bytes, PIL image, or array (height, width) or (height,
                width, channels) of grey or RGB, with or without transparency: uint8, uint16, or numbers in [0, 255]. Or
                an array of several, (count, height, width, channels).
            top: classes to name for each, at most.
            level: see ``run``, as the arguments that follow.
            policy: default ``default_policy``.
            budget: average MAdds as a fraction of the largest level's.
            milliseconds: average time of an image.

        Returns:
            For each photo a ``Classification(labels, probabilities, level, madds)``.

        Raises:
            ValueError: a photo that cannot be read, a bad argument, or a damaged part.
            FileNotFoundError: no such file.
            ImportError: Pillow is missing; arrays of the network's size do not need it.

        Example:
            >>> print(session.classify("cat.jpg")[0].label)
        """

        def run(x: np.ndarray) -> Routed:
            return self.run(x, level, policy, budget, milliseconds=milliseconds)

        return photos.classify(images, run, self.image_shape, self.preprocessing, self.labels, top)

    def set_budget(
        self,
        fraction: float | None = None,
        madds: float | None = None,
        policy: PolicyName | None = None,
        milliseconds: float | None = None,
    ) -> None:
        """Sets a policy so that it spends a given average cost, from the bundle's table.

        Args:
            fraction: average MAdds as a fraction of the largest level's, at most 1; or
            madds: average MAdds; or
            milliseconds: average time of an image that is run alone, with this session, on this device. ``benchmark``
                runs first where it has not run yet.
            policy: "gate" or "cascade"; default ``default_policy``.

        Raises:
            ValueError: no table, not exactly one budget, or one below what the table reaches. One above it is
                met by the table's last row.

        Example:
            >>> session.set_budget(milliseconds=0.5)
        """
        policy = self.default_policy if policy is None else policy
        self.settings[policy] = self._settings(policy, fraction, madds, milliseconds)

    def benchmark(self, images: Any = None, rounds: int = 30) -> Times:
        """Measures what the parts of the bundle take on this device, for budgets in milliseconds; kept as ``times``.

        Args:
            images: (count, height, width, channels) in [0, 255], run one by one; default eight of noise, which take as
                long as any others.
            rounds: times that each part is timed, in turn; the median counts.

        Returns:
            ``Times(start, bodies, judge, gate)``, milliseconds of one image.

        Raises:
            ValueError: no image or bad ones, or rounds below 1.

        Example:
            >>> session.benchmark().bodies
        """
        if images is None:
            images = np.random.default_rng(0).uniform(0, 255, (8, *self.image_shape)).astype("float32")
        images = self._check_images(images)
        with self._lock:
            self.times = measure(self.router, lambda image, level: self.run(image, level=level), images, rounds)
        return self.times

    def files(self, policy: PolicyName | None = None) -> list[str]:
        """The names of the files that a policy runs.

        Args:
            policy: "gate" ("route" and every "body_<k>"), "cascade" (the "entry_<k>" of its first level, the bodies of
                the others), "random" (every entry) or a level (its entry); default ``default_policy``.

        Returns:
            Names, in the order in which an image meets the files. What the files take and give: see ``Bundle.file``.

        Raises:
            ValueError: no such policy.
        """
        return self.router.files(self._find(policy))

    def materialize(self, policy: PolicyName | None = None) -> list[Path]:
        """Writes the static TFLite files that a policy runs into the cache.

        Args:
            policy: see ``files``.

        Returns:
            The paths, in the order in which an image meets the files.

        Raises:
            ValueError: the session has no ``cache_dir``, no such policy, or a part is damaged.
            OSError: the cache cannot be written.
        """
        files = self.files(policy)
        if self._levels.cache_dir is None:
            raise ValueError("cache_dir must be given to the session, received None")
        for name in files:
            self._levels.data(name, keep=True)
        return [self._levels.path(name) for name in files]

    def features(self, image: Any) -> np.ndarray:
        """The shared start's output for one image.

        Args:
            image: (height, width, channels) in [0, 255].

        Returns:
            (1, ...) float32, or the int8 codes that the bodies read.

        Raises:
            ValueError: another shape, or a damaged part.
        """
        with self._lock:
            return to_array(self._levels.route(self._check_images(np.asarray(image)[None]))["features"])

    def open(self, level: int) -> None:
        """Makes a level ready to run, which its first use does too.

        Args:
            level: of the bundle.

        Raises:
            ValueError: no such level, or a damaged part.
        """
        with self._lock:
            self._levels.entry(check_fixed_level(level, self.num_levels))

    def _find(self, policy: PolicyName | None, mix: Any = None, seed: int | None = None) -> Policy:
        policy = self.default_policy if policy is None else policy
        if type(policy) not in (str, int) or policy not in self._policies:  # one that was made is one that was checked
            policy = check_policy(policy, self.num_levels, names(GIVEN))
        if mix is not None or seed is not None:
            check_belongs(policy, mix=mix, seed=seed)
        return self._policies.get(policy) or find(policy, self.spec, mix=mix, seed=seed)

    def _settings(
        self,
        policy: PolicyName,
        fraction: float | None = None,
        madds: float | None = None,
        milliseconds: float | None = None,
    ) -> np.ndarray:
        times = self.times
        if milliseconds is not None and times is None:
            self.budgets.rows_for(policy, fraction, madds, milliseconds)  # what is wrong is said before timing anything
            times = self.benchmark()
        return self.budgets.settings_at(policy, self.spec.largest, fraction, madds, milliseconds, times)

    def _check_images(self, images: Any) -> np.ndarray:
        images = np.asarray(images)
        if images.shape[1:] != self.image_shape or images.dtype.kind not in "uif":
            raise photos.size_error(self.image_shape, images, "session")
        photos.check_values(images)
        return images
