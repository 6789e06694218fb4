"""Weights of other packages as supernets: official DS-Net checkpoints, networks of ``keras.applications``."""

from ds_keras.convert.ds_net import from_official, from_state_dict
from ds_keras.convert.keras_applications import from_keras_resnet50

__all__ = ["from_keras_resnet50", "from_official", "from_state_dict"]
