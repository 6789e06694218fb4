"""Levels one after another, until one is confident."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ds_keras.policies.base import RoutingSpec, SequentialPolicy


class Cascade(SequentialPolicy):
    """Runs the levels of the cascade, smallest first, until the margin of one reaches its threshold.

    The settings are the thresholds, one for each level but the last: a larger one sends more images on.

    Args:
        spec: of the network.
    """

    name = "cascade"
    settings_weight = "cascade_thresholds"

    def __init__(self, spec: RoutingSpec):
        super().__init__(spec)
        self.order = spec.cascade

    @classmethod
    def num_settings(cls, cascade: tuple[int, ...]) -> int:
        """See the base class."""
        return len(cascade) - 1

    def describe(self) -> str:
        """See the base class."""
        return f"the cascade over the levels {', '.join(map(str, self.order))}"

    def continues(self, confidence: Any, step: int, settings: Any) -> Any:
        """See the base class."""
        return confidence < settings[step]

    def settings_for(self, level: int) -> np.ndarray | None:
        """See the base class. No margin is below 0: every image stays at the first level."""
        return np.zeros(len(self.order) - 1, "float32") if level == self.order[0] else None


def check_chain(chain: Any, levels: int, name: str = "cascade") -> tuple[int, ...]:
    """Checks a choice of levels, those of a cascade for one.

    Args:
        chain: what is asked for.
        levels: of the model.
        name: of the argument, for the error.

    Returns:
        The chain.

    Raises:
        ValueError: fewer than two levels, a level that the model lacks, or levels that do not rise.
    """
    plain = isinstance(chain, Sequence) and len(chain) >= 2 and all(type(k) is int for k in chain)
    if not plain or list(chain) != sorted(set(chain)) or not 0 <= chain[0] <= chain[-1] < levels:
        raise ValueError(f"{name} must be two or more levels in [0, {levels}), smaller ones first, received {chain!r}")
    return tuple(chain)
