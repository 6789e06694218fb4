"""Every image at one level."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ds_keras.policies.base import Executor, Policy, RoutingSpec


class Fixed(Policy):
    """Runs every image at one level. Users give the level instead of a name.

    Args:
        spec: of the network.
        level: from 0.
    """

    name = "fixed level"  # is not registered

    def __init__(self, spec: RoutingSpec, level: int):
        super().__init__(spec)
        self.level = self.key = level

    @property
    def begins(self) -> tuple[int, ...]:
        """See the base class."""
        return (self.level,)

    def describe(self) -> str:
        """See the base class."""
        return f"level {self.level} for every image"

    def assign(self, count: int, logits_by_level: Callable[[], np.ndarray] | None = None) -> np.ndarray:
        """See the base class."""
        return np.full(count, self.level, "int32")

    def run(self, executor: Executor, images: Any, settings: Any = None) -> Any:
        """See the base class."""
        return executor.at(images, self.level)
