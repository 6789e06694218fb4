"""Experiments: a config as plain values, and runs of both stages that resume and end as a preset."""

from ds_keras.experiments.config import Experiment, Stage, read_experiment

__all__ = ["Experiment", "Stage", "read_experiment"]
