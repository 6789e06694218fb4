"""The cheapest right level, which needs the label: a bound, not something to deploy."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ds_keras.policies.base import Policy, RoutingSpec


class Oracle(Policy):
    """Runs each image at the smallest level that classifies it right, and at the smallest one where none does.

    Args:
        spec: of the network.
        labels: (count,) integer classes.
    """

    name = "oracle"
    needs = ("labels",)

    def __init__(self, spec: RoutingSpec, labels: Any = None):
        super().__init__(spec, labels=labels)

    def describe(self) -> str:
        """See the base class."""
        return "the cheapest right level"

    def assign(self, count: int, logits_by_level: Callable[[], np.ndarray] | None = None) -> np.ndarray:
        """See the base class."""
        labels = self.given["labels"]
        if labels is None or np.shape(labels) != (count,):
            raise ValueError(f"policy='oracle' needs labels of shape ({count},), received {np.shape(labels)}")
        if logits_by_level is None:
            raise ValueError("policy='oracle' needs the logits of every level, which are not computed here")
        return np.argmax(logits_by_level().argmax(-1) == np.asarray(labels), axis=0).astype("int32")
