"""Networks: one file for each architecture, whose table of stages is at its top. Supernets, and LC-ResNet."""

from ds_keras.models.lc_resnet import LCResNet
from ds_keras.models.mobilenet import DSMobileNet
from ds_keras.models.resnet import DSResNet
from ds_keras.models.supernet import Supernet
from ds_keras.models.vit import DSViT

__all__ = ["DSMobileNet", "DSResNet", "DSViT", "LCResNet", "Supernet"]
