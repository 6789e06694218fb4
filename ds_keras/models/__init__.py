"""Supernets: one file for each architecture, whose table of stages is at its top."""

from ds_keras.models.mobilenet import DSMobileNet
from ds_keras.models.resnet import DSResNet
from ds_keras.models.supernet import Supernet
from ds_keras.models.vit import DSViT

__all__ = ["DSMobileNet", "DSResNet", "DSViT", "Supernet"]
