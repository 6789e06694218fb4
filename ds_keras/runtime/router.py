"""Runs images under a policy: which files, and in which order. No TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ds_keras.policies.base import Policy, Routed, margin
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.network import to_array

End = tuple[np.ndarray, np.ndarray]  # levels and madds of one image


class Router:
    """What a session's policies do. For one thread at a time.

    Args:
        levels: of the bundle.
        manifest: of the bundle, checked.
    """

    def __init__(self, levels: Levels, manifest: dict[str, Any]):
        self.levels, self.classes = levels, manifest["num_classes"]
        self.chain = manifest["policy"]["cascade"]
        costs = manifest["madds"]
        body = np.array(costs["body"], "float64")
        self.relative = body / body[-1]
        every, chain, start = range(len(body)), list(self.chain), costs["start"]
        self.ends = _ends(every, start + body)
        self.ends_of_gate = _ends(every, start + costs["gate"] + body)
        self.ends_of_cascade = _ends(chain, start + np.cumsum(body[chain]))

    def files(self, policy: Policy) -> list[str]:
        """The files that a policy runs, in the order in which an image meets them."""
        every = range(len(self.relative))
        if policy == "gate":
            return ["route", *(f"body_{level}" for level in every)]
        if policy == "cascade":
            first, *others = self.chain
            return [f"entry_{first}", *(f"body_{level}" for level in others)]
        return [f"entry_{level}" for level in (every if policy == "random" else [policy])]

    def fixed(self, images: np.ndarray, level: int) -> Routed:
        """Every image at one level."""
        entry = self.levels.entry(level)
        if len(images) == 1:  # an app's case: what can be left out, is
            levels, madds = self.ends[level]
            return Routed(to_array(entry(images, lend=True)["logits"]), levels.copy(), madds.copy())
        logits = [to_array(entry(images[i : i + 1], lend=True)["logits"]) for i in range(len(images))]
        return self._collect(logits, [self.ends[level]] * len(images))

    def mixed(self, images: np.ndarray, levels: list[int]) -> Routed:
        """Every image at a level of its own."""
        logits = self._grouped(self.levels.entry, images[:, None], levels)
        return self._collect(logits, [self.ends[level] for level in levels])

    def gated(self, images: np.ndarray, shift: np.ndarray) -> Routed:
        """Every image at the level that the gate picks: its logit less shift x relative cost is largest."""
        alone = len(images) == 1
        found = [self.levels.route(image, lend=alone) for image in images[:, None]]  # lent until the route runs again
        levels = [int((to_array(x["gate"])[0] - shift * self.relative).argmax()) for x in found]
        logits = self._grouped(self.levels.body, [x["features"] for x in found], levels)
        return self._collect(logits, [self.ends_of_gate[level] for level in levels])

    def cascade(self, images: np.ndarray, thresholds: np.ndarray) -> Routed:
        """Every image at the first level of the chain whose margin reaches its threshold."""
        entry = self.levels.entry(self.chain[0])
        if len(images) == 1:
            return self._chain(entry(images, lend=True), thresholds)
        logits, ends, features = [], [self.ends_of_cascade[0]] * len(images), {}
        for i in range(len(images)):
            found = entry(images[i : i + 1], lend=True)
            logits.append(to_array(found["logits"]))
            if margin(logits[i][0]) < thresholds[0]:
                features[i] = to_array(found["features"])  # lent until the entry runs again
        for step in range(1, len(self.chain)):  # each level runs what the one before was not sure of
            if not features:
                break
            body = self.levels.body(self.chain[step])
            for i, x in features.items():
                logits[i], ends[i] = to_array(body(x)["logits"]), self.ends_of_cascade[step]
            if step < len(self.chain) - 1:
                features = {i: x for i, x in features.items() if margin(logits[i][0]) < thresholds[step]}
        return self._collect(logits, ends)

    def _chain(self, found: dict[str, Any], thresholds: np.ndarray) -> Routed:
        """The cascade of one image, from what its first level lends."""
        logits, step = to_array(found["logits"]), 0
        while step < len(self.chain) - 1 and margin(logits[0]) < thresholds[step]:
            step += 1
            logits = to_array(self.levels.body(self.chain[step])(found["features"], lend=True)["logits"])
        levels, madds = self.ends_of_cascade[step]
        return Routed(logits, levels.copy(), madds.copy())

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
            np.concatenate([np.zeros((0, self.classes), np.float32), *logits]),
            np.concatenate([np.zeros(0, np.int32), *levels]),
            np.concatenate([np.zeros(0, np.float32), *madds]),
        )


def _ends(levels: Sequence[int], madds: np.ndarray) -> list[End]:
    """What a result says of an image that ends at each level: a copy takes a third of the time of making it."""
    return [(np.array([k], np.int32), np.array([cost], np.float32)) for k, cost in zip(levels, madds, strict=True)]
