"""LC-Net (arXiv 2007.15151): for each image a ResNet decides which blocks and which groups of channels run.

Everything of it lies here; no other room imports it. Some functions for any network do something else for an
``LCResNet``: export, evaluation, the card, training, timing. They dispatch on the type of the network
(``functools.singledispatch``), and the modules that are imported here register what LC-Net does.
"""

from ds_keras.lcnet import benchmark, card, evaluation, export  # noqa: F401 (each registers its part)
from ds_keras.lcnet.conversion import from_level
from ds_keras.lcnet.experiments import run  # noqa: F401 (likewise)
from ds_keras.lcnet.model import LCResNet
from ds_keras.lcnet.trainer import LCTrainer

__all__ = ["LCResNet", "LCTrainer", "from_level"]
