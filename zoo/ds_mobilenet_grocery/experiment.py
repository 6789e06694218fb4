"""DS-MobileNetV2 on Grocery Store (81 classes, photos of smartphones, 160 px), from EfficientNet-Lite0's weights.

The classifier is trained first, on Lite0's features as they came; it says which channels matter. Then every level
trains in every step, the largest with a third of the batch.

Command: ds-keras train --config=zoo/ds_mobilenet_grocery/experiment.py --workdir=runs/grocery \
         --data=pack:DIRECTORY/grocery_160_jpeg.npz
Hours:   about one on two CPU cores; not run to its end yet. Needs the extra ``pretrained``.
"""

from ds_keras.convert import load_efficientnet_lite
from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSMobileNetV2


def model(classes: int, shape: tuple[int, int, int]) -> DSMobileNetV2:
    """Lite0 in four levels, with a new classifier."""
    given = {"dropout": 0.2, "gate_hidden": 32, "name": "ds_mobilenet_grocery"}
    network = DSMobileNetV2.efficientnet_lite(0, classes, shape, **given)
    return load_efficientnet_lite(0, network, order=False)  # ordered by the training images instead


EXPERIMENT = Experiment(
    name="ds_mobilenet_grocery",
    data="pack:data/grocery_160_jpeg.npz",
    model=model,
    stage1=TrainingStage(
        epochs=36,
        learning_rate=4e-4,
        optimizer="adamw",
        batch_size=64,
        warmup=0.1,
        augment="rrc:0.3,flip",
        clip_norm=5.0,
        weight_decay=0.02,
        image_size=(128, 128),
        trainer={
            "num_random": None,
            "objective": "ce",
            "label_smoothing": 0.1,
            "weight_decay": 0.0,
            "frozen_start": True,
            "shares": (1.0, 0.34, 0.25, 0.34),
        },
    ),
    stage2=TrainingStage(epochs=2, learning_rate=3e-3, optimizer="adam", batch_size=64, augment="flip"),
    image_size=(160, 160),
    held_out=240,
    calibration=(40, 60),
    calibration_augment="flip",
    head_images=2400,
    order_images=1200,
    data_terms="Grocery Store, 160 px JPEG (MIT, (c) Marcus Klasson et al., arXiv 1901.00711); starts from "
    "EfficientNet-Lite0's ImageNet weights (Apache-2.0)",
    licence="Apache-2.0",
)
