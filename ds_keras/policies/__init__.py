"""Policies: which level each image runs at. numpy alone, so that a phone's runtime needs no TensorFlow."""

from typing import Any

from ds_keras import moved
from ds_keras.policies.base import (
    Executor,
    GatePolicy,
    Policy,
    PolicyName,
    Routed,
    RoutingSpec,
    SequentialPolicy,
)
from ds_keras.policies.budget_table import BudgetRow, BudgetTable, Times
from ds_keras.policies.confidence import margin
from ds_keras.policies.registry import find, names, register

POLICIES = names()  # those of the package, without any that are registered later

__all__ = [
    "POLICIES",
    "BudgetRow",
    "BudgetTable",
    "Executor",
    "GatePolicy",
    "Policy",
    "PolicyName",
    "Routed",
    "RoutingSpec",
    "SequentialPolicy",
    "Times",
    "find",
    "margin",
    "names",
    "register",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
