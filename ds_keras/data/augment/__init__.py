"""Stateless augmentation of batches, and the recipes that name it."""

from typing import Any

from ds_keras import moved


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
