"""The learned gate picks the level. Source: DS-Net, arXiv 2103.13258; the shift is ours."""

from typing import Any

import numpy as np

from ds_keras.policies.base import GatePolicy, RoutingSpec

FAR = 1e9  # a shift beyond every logit


class Gate(GatePolicy):
    """Runs each image at the level of the largest gate logit, less shift x relative cost of the level.

    The setting is the shift: a larger one sends more images to small levels.

    Args:
        spec: of the network.
    """

    name = "gate"
    settings_weight = "gate_shift"

    def __init__(self, spec: RoutingSpec):
        super().__init__(spec)
        self.relative = spec.relative

    @classmethod
    def num_settings(cls, cascade: tuple[int, ...]) -> int:
        """See the base class."""
        return 1

    def describe(self) -> str:
        """See the base class."""
        return "the gate"

    def scores(self, gate_logits: Any, settings: Any) -> Any:
        """See the base class."""
        return gate_logits - settings * self.relative

    def settings_for(self, level: int) -> np.ndarray | None:
        """See the base class. A shift can send all images to the cheapest or to the dearest level only."""
        shift = {0: FAR, self.spec.num_levels - 1: -FAR}.get(level)
        return None if shift is None else np.array([shift], "float32")
