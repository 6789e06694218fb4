"""Weights of other packages as supernets: official DS-Net, EfficientNet-Lite, ``keras.applications``, DeiT."""

from ds_keras.convert.deit import from_deit
from ds_keras.convert.ds_net import from_official, from_state_dict
from ds_keras.convert.efficientnet_lite import from_efficientnet_lite, load_efficientnet_lite
from ds_keras.convert.importance import order_channels
from ds_keras.convert.keras_applications import from_keras_resnet50
from ds_keras.convert.keras_mobilenet import from_keras_mobilenet, from_keras_mobilenet_v2

__all__ = [
    "from_deit",
    "from_efficientnet_lite",
    "from_keras_mobilenet",
    "from_keras_mobilenet_v2",
    "from_keras_resnet50",
    "from_official",
    "from_state_dict",
    "load_efficientnet_lite",
    "order_channels",
]
