"""ONNX files: one level, or every level with each kernel once."""

from ds_keras.export.onnx.writer import to_onnx

__all__ = ["to_onnx"]
