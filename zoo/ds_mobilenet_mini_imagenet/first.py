"""DS-MobileNetV2 on mini-ImageNet (100 ImageNet classes), 128 px, from EfficientNet-Lite0's ImageNet weights.

The first part: every level trains in every step, the largest with a quarter of the batch. ``second.py`` goes on.
The files are of 84 px and are shown at 128.

Command: ds-keras train --config=zoo/ds_mobilenet_mini_imagenet/first.py --workdir=runs/mini_imagenet_first \
         --data=pack:DIRECTORY/mini_imagenet_84_webp.npz
Hours:   one and a quarter on two CPU cores that other work shared. Needs the extra ``pretrained``.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.convert import load_efficientnet_lite
from ds_keras.experiments import read_experiment
from ds_keras.models import DSMobileNetV2

FIRST = read_experiment(Path(__file__).parents[1] / "ds_mobilenet_imagenette" / "first.py")
TRAINER = {**FIRST.stage1.trainer, "shares": (1.0, 0.34, 0.17, 0.25)}
del TRAINER["fixed_statistics"]  # every level has the statistics of its batches
CLASSES = (  # places of the hundred classes among the 1000, in the order of the pack ("imagenet_index")
    *(12, 15, 51, 64, 70, 96, 99, 107, 111, 121, 149, 166, 173, 176, 207, 214, 228, 242, 244, 245),
    *(249, 251, 256, 266, 270, 275, 279, 291, 299, 301, 306, 310, 359, 364, 392, 403, 412, 427, 440, 454),
    *(471, 476, 478, 484, 494, 502, 503, 507, 519, 524, 533, 538, 546, 553, 556, 567, 569, 584, 597, 602),
    *(604, 605, 629, 655, 657, 659, 683, 687, 702, 709, 713, 735, 741, 758, 779, 781, 800, 801, 807, 815),
    *(819, 847, 854, 858, 860, 880, 881, 883, 909, 912, 914, 919, 925, 927, 934, 950, 972, 973, 997, 998),
)


def model(classes: int, shape: tuple[int, int, int]) -> DSMobileNetV2:
    """Lite0 in four levels, with its outputs for the hundred classes."""
    given = {"dropout": 0.1, "gate_hidden": 32, "name": "ds_mobilenet_mini_imagenet"}
    network = DSMobileNetV2.efficientnet_lite(0, classes, shape, **given)
    return load_efficientnet_lite(0, network, CLASSES, order=False)  # ordered by the training images instead


EXPERIMENT = replace(
    FIRST,
    name="ds_mobilenet_mini_imagenet_first",
    data="pack:data/mini_imagenet_84_webp.npz",
    model=model,
    stage1=replace(
        FIRST.stage1,
        epochs=11,
        learning_rate=5e-4,
        augment="rrc:0.35,flip",
        trainer=TRAINER,
    ),
    image_size=(128, 128),
    held_out=1000,
    order_images=1000,
    data_terms="mini-ImageNet, 100 classes, 84 px WebP (ImageNet's terms: non-commercial research and education); "
    "starts from EfficientNet-Lite0's ImageNet weights (Apache-2.0). The split is ours, and the 'val' photos may be "
    "from ImageNet's training set, which the start has seen: expect less on new photos",
    labels=None,
)
