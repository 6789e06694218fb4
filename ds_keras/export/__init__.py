"""Export: plain Keras sub-networks and static TFLite files."""

from ds_keras.export.litert import to_tflite
from ds_keras.export.subnet import subnet

__all__ = ["subnet", "to_tflite"]
