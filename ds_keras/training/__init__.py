"""Training: Stage I (the supernet), BatchNorm calibration, Stage II (the gate), and experiments that resume."""

from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.experiment import Experiment, Stage, read_experiment
from ds_keras.training.lc import LCTrainer
from ds_keras.training.stage1 import SupernetTrainer
from ds_keras.training.stage2 import GateTrainer

__all__ = [
    "Experiment",
    "GateTrainer",
    "LCTrainer",
    "Stage",
    "SupernetTrainer",
    "calibrate_batch_norm",
    "read_experiment",
]
