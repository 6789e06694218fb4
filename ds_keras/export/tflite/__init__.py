"""Static TFLite files: one for each level."""

from ds_keras.export.tflite.writer import to_tflite

__all__ = ["to_tflite"]
