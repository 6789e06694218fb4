"""Training: Stage I (the supernet), BatchNorm calibration, Stage II (the gate)."""

from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.stage1 import SupernetTrainer
from ds_keras.training.stage2 import GateTrainer

__all__ = ["GateTrainer", "SupernetTrainer", "calibrate_batch_norm"]
