"""int8: where a network rounds, the ranges of its activations, the codes of its kernels."""

from ds_keras.quantization.rounding import (
    CALIBRATION_IMAGES,
    FakeQuantized,
    Rounding,
    activation_ranges,
    check_calibration_data,
    check_quantize,
    is_relu,
)

__all__ = [
    "CALIBRATION_IMAGES",
    "FakeQuantized",
    "Rounding",
    "activation_ranges",
    "check_calibration_data",
    "check_quantize",
    "is_relu",
]
