"""Export: plain Keras sub-networks, static TFLite and ONNX files, bundles that hold every weight once, and tfmot."""

from ds_keras.export import compress
from ds_keras.export.bundle.writer import to_bundle
from ds_keras.export.onnx.writer import to_onnx
from ds_keras.export.subnet import body_network, route_network, subnet
from ds_keras.export.tflite.writer import to_tflite
from ds_keras.export.web.writer import to_web

__all__ = ["body_network", "compress", "route_network", "subnet", "to_bundle", "to_onnx", "to_tflite", "to_web"]
