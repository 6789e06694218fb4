"""Runs images under a policy with LiteRT: which files, and in which order. No TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ds_keras.policies.base import GatePolicy, Policy, Routed, RoutingSpec, SequentialPolicy
from ds_keras.policies.confidence import margin
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.network import to_array

End = tuple[np.ndarray, np.ndarray]  # levels and madds of one image


class Router:
    """Runs what a session's policies decide: an ``Executor``. For one thread at a time.

    Args:
        levels: of the bundle.
        spec: of the bundle's network.
        num_classes: of the bundle.
    """

    def __init__(self, levels: Levels, spec: RoutingSpec, num_classes: int):
        self.levels, self.spec, self.num_classes = levels, spec, num_classes
        self.every = range(spec.num_levels)
        body = np.array(spec.bodies, "float64")
        self.ends = _ends(self.every, spec.start + body)
        self.ends_of_gate = _ends(self.every, spec.start + spec.gate + body)
        self.ends_in_turn: dict[tuple[int, ...], list[End]] = {}  # by order

    def files(self, policy: Policy) -> list[str]:
        """The files that a policy runs, in the order in which an image meets them."""
        route = ["route"] if policy.runs_gate else []
        return [*route, *(f"entry_{k}" for k in policy.begins), *(f"body_{k}" for k in policy.follows)]

    def at(self, images: np.ndarray, levels: Any) -> Routed:
        """See ``Executor``."""
        if isinstance(levels, int):
            if len(images) == 1:  # an app's case: what can be left out, is
                found = self.levels.entry(levels)(images, lend=True)
                level, madds = self.ends[levels]
                return Routed(to_array(found["logits"]), level.copy(), madds.copy())
            levels = [levels] * len(images)
        else:
            levels = levels.tolist()
        logits = self._grouped(self.levels.entry, list(images[:, None]), levels)
        return self._collect(logits, [self.ends[level] for level in levels])

    def by_gate(self, images: np.ndarray, policy: GatePolicy, settings: Any) -> Routed:
        """See ``Executor``."""
        if len(images) == 1:
            route = self.levels.route(images, lend=True)  # lent until the route runs again
            level = int(policy.scores(to_array(route["gate"])[0], settings).argmax())
            logits = to_array(self.levels.body(level)(route["features"], lend=True)["logits"])
            levels, madds = self.ends_of_gate[level]
            return Routed(logits, levels.copy(), madds.copy())
        routes = [self.levels.route(image) for image in images[:, None]]
        chosen = [int(policy.scores(to_array(x["gate"])[0], settings).argmax()) for x in routes]
        found = self._grouped(self.levels.body, [x["features"] for x in routes], chosen)
        return self._collect(found, [self.ends_of_gate[level] for level in chosen])

    def in_turn(self, images: np.ndarray, policy: SequentialPolicy, settings: Any) -> Routed:
        """See ``Executor``."""
        order = policy.order
        if len(images) != 1:
            return self._many_in_turn(images, policy, settings)
        found, last, step = self.levels.entry(order[0])(images, lend=True), len(order) - 1, 0
        logits = to_array(found["logits"])
        while step < last and policy.continues(margin(logits[0]), step, settings):
            step += 1
            logits = to_array(self.levels.body(order[step])(found["features"], lend=True)["logits"])
        levels, madds = (self.ends_in_turn.get(order) or self._ends_in_turn(order))[step]
        return Routed(logits, levels.copy(), madds.copy())

    def _many_in_turn(self, images: np.ndarray, policy: SequentialPolicy, settings: Any) -> Routed:
        """Any number of images: each level runs the images that the one before sent on."""
        order, last, ends = policy.order, len(policy.order) - 1, self._ends_in_turn(policy.order)
        entry = self.levels.entry(order[0])
        logits, steps, features = [], [0] * len(images), {}
        for i in range(len(images)):
            found = entry(images[i : i + 1], lend=True)
            logits.append(to_array(found["logits"]))
            if last and policy.continues(margin(logits[i][0]), 0, settings):
                features[i] = to_array(found["features"])  # lent until the entry runs again
        for step in range(1, last + 1):
            if not features:
                break
            body = self.levels.body(order[step])
            for i, x in features.items():
                logits[i], steps[i] = to_array(body(x)["logits"]), step
            if step < last:
                features = {i: x for i, x in features.items() if policy.continues(margin(logits[i][0]), step, settings)}
        return self._collect(logits, [ends[step] for step in steps])

    def _ends_in_turn(self, order: tuple[int, ...]) -> list[End]:
        costs = self.spec.start + np.cumsum(np.array(self.spec.bodies, "float64")[list(order)])
        self.ends_in_turn[order] = _ends(order, costs)
        return self.ends_in_turn[order]

    def _grouped(self, network: Callable[[int], Any], inputs: Sequence[Any], levels: list[int]) -> list[np.ndarray]:
        """Logits in the order of the inputs; a level's inputs run together, so that it is opened once."""
        logits: list[Any] = [None] * len(levels)
        for level in sorted(set(levels)):
            run = network(level)
            for i, chosen in enumerate(levels):
                if chosen == level:
                    logits[i] = to_array(run(inputs[i], lend=True)["logits"])
        return logits

    def _collect(self, logits: list[np.ndarray], ends: list[End]) -> Routed:
        """The result of images whose logits are (1, classes) each; one image's are handed on as they are."""
        levels, madds = zip(*ends, strict=True) if ends else ((), ())
        if len(logits) == 1:
            return Routed(logits[0], levels[0].copy(), madds[0].copy())
        return Routed(
            np.concatenate([np.zeros((0, self.num_classes), np.float32), *logits]),
            np.concatenate([np.zeros(0, np.int32), *levels]),
            np.concatenate([np.zeros(0, np.float32), *madds]),
        )


def _ends(levels: Sequence[int], madds: np.ndarray) -> list[End]:
    """What a result says of an image that ends at each level: a copy takes a third of the time of making it."""
    return [(np.array([k], np.int32), np.array([cost], np.float32)) for k, cost in zip(levels, madds, strict=True)]
