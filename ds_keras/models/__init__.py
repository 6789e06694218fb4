"""Networks: one file for each architecture, whose table of stages is at its top. ``Backbone`` gives their features."""

from typing import TYPE_CHECKING, Any

from ds_keras import moved
from ds_keras.models.backbone import Backbone
from ds_keras.models.mobilenet import DSMobileNet
from ds_keras.models.mobilenet_v2 import DSMobileNetV2
from ds_keras.models.resnet import DSResNet
from ds_keras.models.supernet import Supernet
from ds_keras.models.vit import DSViT

if TYPE_CHECKING:
    LCResNet: Any  # lent by ds_keras.lcnet, see ds_keras.moved

__all__ = ["Backbone", "DSMobileNet", "DSMobileNetV2", "DSResNet", "DSViT", "LCResNet", "Supernet"]
NETWORKS = tuple(name for name in __all__ if name not in ("Backbone", "Supernet"))  # what a preset may be of


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
