"""Runs images under a policy: which files, and in which order. No TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ds_keras.policies import Policy, Routed, margin
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.network import to_array


class Router:
    """What a session's policies do. For one thread at a time.

    Args:
        levels: of the bundle.
        manifest: of the bundle, checked.
    """

    def __init__(self, levels: Levels, manifest: dict[str, Any]):
        self.levels, self.costs, self.classes = levels, manifest["madds"], manifest["num_classes"]
        self.chain = manifest["policy"]["cascade"]
        body = np.array(self.costs["body"], "float64")
        self.relative = body / body[-1]

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
        costs, entry = self.costs, self.levels.entry(level)
        logits = [to_array(entry(images[i : i + 1], lend=True)["logits"]) for i in range(len(images))]
        return self._collect(logits, [level] * len(images), [costs["start"] + costs["body"][level]] * len(images))

    def mixed(self, images: np.ndarray, levels: list[int]) -> Routed:
        """Every image at a level of its own."""
        costs = self.costs
        logits = self._grouped(self.levels.entry, images[:, None], levels)
        return self._collect(logits, levels, [costs["start"] + costs["body"][level] for level in levels])

    def gated(self, images: np.ndarray, shift: np.ndarray) -> Routed:
        """Every image at the level that the gate picks: its logit less shift x relative cost is largest."""
        costs, alone = self.costs, len(images) == 1
        found = [self.levels.route(image, lend=alone) for image in images[:, None]]  # lent until the route runs again
        levels = [int((to_array(x["gate"])[0] - shift * self.relative).argmax()) for x in found]
        logits = self._grouped(self.levels.body, [x["features"] for x in found], levels)
        paid = costs["start"] + costs["gate"]
        return self._collect(logits, levels, [paid + costs["body"][level] for level in levels])

    def cascade(self, images: np.ndarray, thresholds: np.ndarray) -> Routed:
        """Every image at the first level of the chain whose margin reaches its threshold."""
        costs, (first, *larger) = self.costs, self.chain
        entry, alone = self.levels.entry(first), len(images) == 1
        logits, features = [], {}
        for i in range(len(images)):
            found = entry(images[i : i + 1], lend=True)
            logits.append(to_array(found["logits"]))
            if margin(logits[i][0]) < thresholds[0]:  # lent until the entry runs again
                features[i] = found["features"] if alone else to_array(found["features"])
        levels, madds = [first] * len(images), [costs["start"] + costs["body"][first]] * len(images)
        for step, level in enumerate(larger, 1):  # each level runs what the one before was not sure of
            if not features:
                break
            body = self.levels.body(level)
            for i, x in features.items():
                logits[i], levels[i], madds[i] = to_array(body(x)["logits"]), level, madds[i] + costs["body"][level]
            if step < len(thresholds):
                features = {i: x for i, x in features.items() if margin(logits[i][0]) < thresholds[step]}
        return self._collect(logits, levels, madds)

    def _grouped(self, network: Callable[[int], Any], inputs: Sequence[Any], levels: list[int]) -> list[np.ndarray]:
        """Logits in the order of the inputs; a level's inputs run together, so that it is opened once."""
        logits: list[Any] = [None] * len(levels)
        for level in sorted(set(levels)):
            run = network(level)
            for i, chosen in enumerate(levels):
                if chosen == level:
                    logits[i] = to_array(run(inputs[i], lend=True)["logits"])
        return logits

    def _collect(self, logits: list[np.ndarray], levels: list[int], madds: list[float]) -> Routed:
        """The result of images whose logits are (1, classes) each; one image's array is handed on as it is."""
        if len(logits) != 1:
            logits = [np.concatenate(logits or [np.zeros((0, self.classes), np.float32)])]
        return Routed(logits[0], np.array(levels, np.int32), np.array(madds, np.float32))
