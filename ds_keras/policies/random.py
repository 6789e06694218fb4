"""Levels drawn at random: what a learned policy has to beat at equal cost."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ds_keras.policies.base import Policy, RoutingSpec


class Random(Policy):
    """Draws the level of each image.

    Args:
        spec: of the network.
        mix: (levels,) probabilities; None for equal ones.
        seed: of the draw.
    """

    name = "random"
    needs = ("mix", "seed")

    def __init__(self, spec: RoutingSpec, mix: Any = None, seed: int | None = None):
        super().__init__(spec, mix=mix, seed=seed)

    def describe(self) -> str:
        """See the base class."""
        return "levels drawn at random"

    def assign(self, count: int, logits_by_level: Callable[[], np.ndarray] | None = None) -> np.ndarray:
        """See the base class."""
        mix, levels = self.given["mix"], self.spec.num_levels
        p = np.full(levels, 1 / levels) if mix is None else np.asarray(mix, "float64")
        if p.shape != (levels,) or not np.all(p >= 0) or not np.isclose(p.sum(), 1, atol=1e-6):
            raise ValueError(f"mix must hold {levels} probabilities that add up to 1, received {mix!r}")
        return np.random.default_rng(self.given["seed"]).choice(levels, count, p=p / p.sum()).astype("int32")
