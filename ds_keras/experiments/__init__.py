"""Experiments: a config as plain values, and runs of both stages that resume and end as a preset."""

from typing import Any

from ds_keras import moved
from ds_keras.experiments.config import Experiment, TrainingStage, read_experiment

__all__ = ["Experiment", "TrainingStage", "read_experiment"]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
