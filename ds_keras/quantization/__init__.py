"""int8: where a network rounds, the ranges of its activations, the codes of its kernels."""

from ds_keras.quantization.ranges import CALIBRATION_IMAGES, activation_ranges, check_calibration_data
from ds_keras.quantization.rounding import FakeQuantized, Rounding, check_quantize, is_relu

__all__ = [
    "CALIBRATION_IMAGES",
    "FakeQuantized",
    "Rounding",
    "activation_ranges",
    "check_calibration_data",
    "check_quantize",
    "is_relu",
]
