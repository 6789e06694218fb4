"""Export: plain Keras sub-networks and static TFLite files."""

from ds_keras.export.litert import to_tflite
from ds_keras.export.subnet import body_network, route_network, subnet

__all__ = ["body_network", "route_network", "subnet", "to_tflite"]
