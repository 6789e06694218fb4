"""Training: Stage I (the supernet), BatchNorm calibration, Stage II (the gate)."""

from typing import TYPE_CHECKING, Any

from ds_keras import moved
from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.stage1 import SupernetTrainer
from ds_keras.training.stage2 import GateTrainer

if TYPE_CHECKING:
    LCTrainer: Any  # lent by ds_keras.lcnet, see ds_keras.moved
    fine_tune: Any  # lent by ds_keras.experiments

__all__ = ["GateTrainer", "LCTrainer", "SupernetTrainer", "calibrate_batch_norm", "fine_tune"]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
