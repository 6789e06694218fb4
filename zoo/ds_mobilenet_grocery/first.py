"""The first part of ds_mobilenet_grocery: EfficientNet-Lite0's ImageNet weights become a network of four levels.

The classifier is trained first, on Lite0's features as they came; it says which channels matter. Then every level
trains in every step, the largest with a third of the batch. ``second.py`` goes on from there.

Command: ds-keras train --config=zoo/ds_mobilenet_grocery/first.py --workdir=runs/grocery_first \
         --data=pack:DIRECTORY/grocery_160_jpeg.npz
Hours:   one and a quarter on two CPU cores that other work shared. Needs the extra ``pretrained``.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.convert import load_efficientnet_lite
from ds_keras.experiments import read_experiment
from ds_keras.models import DSMobileNetV2

FIRST = read_experiment(Path(__file__).parents[1] / "ds_mobilenet_imagenette" / "first.py")
TRAINER = {**FIRST.stage1.trainer, "shares": (1.0, 0.34, 0.25, 0.34)}
del TRAINER["fixed_statistics"]  # every level has the statistics of its batches


def model(classes: int, shape: tuple[int, int, int]) -> DSMobileNetV2:
    """Lite0 in four levels, with a new classifier."""
    given = {"dropout": 0.2, "gate_hidden": 32, "name": "ds_mobilenet_grocery"}
    network = DSMobileNetV2.efficientnet_lite(0, classes, shape, **given)
    return load_efficientnet_lite(0, network, order=False)  # ordered by the training images instead


EXPERIMENT = replace(
    FIRST,
    name="ds_mobilenet_grocery_first",
    data="pack:data/grocery_160_jpeg.npz",
    model=model,
    stage1=replace(
        FIRST.stage1,
        epochs=36,
        batch_size=64,
        warmup=0.1,
        image_size=(128, 128),
        trainer=TRAINER,
    ),
    stage2=replace(FIRST.stage2, epochs=2, batch_size=64),
    image_size=(160, 160),
    held_out=240,
    calibration=(40, 60),
    head_images=2400,
    order_images=1200,
    data_terms="Grocery Store, 160 px JPEG (MIT, (c) Marcus Klasson et al., arXiv 1901.00711); starts from "
    "EfficientNet-Lite0's ImageNet weights (Apache-2.0)",
    labels=None,
)
