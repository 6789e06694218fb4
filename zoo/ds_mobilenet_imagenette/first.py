"""The first part of ds_mobilenet_imagenette: EfficientNet-Lite0's ImageNet weights become a network of four levels.

The largest level is Lite0. The smallest costs 14 % of it: a little more than in ``DSMobileNetV2.efficientnet_lite(0)``.
The stem and the first block stay as they are. The schedule is of 64 epochs; it is stopped after 17, since the largest
level, with the statistics that it came with, fell from 93.6 to 88 % of the held-out images while the others rose.
``experiment.py`` goes on from there with statistics of each batch.

Command: ds-keras train --config=zoo/ds_mobilenet_imagenette/first.py --workdir=runs/imagenette_first \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz --max_steps=1581
Hours:   half of one on two CPU cores. Needs the extra ``pretrained``.
"""

from ds_keras.convert import load_efficientnet_lite
from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSMobileNetV2
from ds_keras.models.inverted import InvertedStage

CLASSES = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)  # Imagenette's places among the 1000
LABELS = (
    *("tench", "English springer", "cassette player", "chain saw", "church"),
    *("French horn", "garbage truck", "gas pump", "golf ball", "parachute"),
)
STAGES = (
    InvertedStage(16, 1, 1, expansion=1),
    InvertedStage((16, 16, 24, 24), (1, 1, 2, 2), 2, gate=True, expansion=(2, 3, 4, 6)),
    InvertedStage((24, 32, 32, 40), (1, 2, 2, 2), 2, kernel=(3, 3, 5, 5), expansion=(3, 3, 4, 6)),
    InvertedStage((40, 56, 64, 80), (2, 2, 3, 3), 2, expansion=(3, 3, 4, 6)),
    InvertedStage((64, 72, 96, 112), (1, 2, 2, 3), 1, kernel=(3, 3, 5, 5), expansion=(3, 4, 4, 6)),
    InvertedStage((104, 120, 160, 192), (2, 2, 3, 4), 2, kernel=(3, 3, 5, 5), expansion=(3, 4, 5, 6)),
    InvertedStage((160, 192, 256, 320), 1, 1, expansion=(3, 4, 5, 6)),
)


def model(classes: int, shape: tuple[int, int, int]) -> DSMobileNetV2:
    """Lite0 in four levels, with its outputs for the ten classes."""
    given = {"mean": 127.0, "std": 128.0, "dropout": 0.1, "gate_hidden": 32, "name": "ds_mobilenet_imagenette"}
    network = DSMobileNetV2(32, STAGES, (512, 768, 1024, 1280), classes, shape, **given)
    return load_efficientnet_lite(0, network, CLASSES, order=False)  # ordered by the training images instead


EXPERIMENT = Experiment(
    name="ds_mobilenet_imagenette_first",
    data="pack:data/imagenette2_128_jpeg.npz",
    model=model,
    stage1=TrainingStage(
        epochs=64,
        learning_rate=4e-4,
        optimizer="adamw",
        batch_size=96,
        warmup=0.05,
        augment="rrc:0.3,flip",
        clip_norm=5.0,
        weight_decay=0.02,
        image_size=(96, 96),
        trainer={
            "num_random": None,
            "objective": "ce",
            "label_smoothing": 0.1,
            "weight_decay": 0.0,
            "frozen_start": True,
            "fixed_statistics": (3,),
            "shares": (1.0, 0.5, 0.17, 0.17),
        },
    ),
    stage2=TrainingStage(epochs=1, learning_rate=3e-3, optimizer="adam", augment="flip"),
    held_out=500,
    calibration=(40, 200),
    calibration_augment="flip",
    order_images=600,
    data_terms="Imagenette v2, 128 px JPEG (ImageNet's terms: non-commercial research and education); starts from "
    "EfficientNet-Lite0's ImageNet weights (Apache-2.0). 3,791 of the 3,925 test photos are from ImageNet's training "
    "set, as their names say, so the start has seen them: expect less on new photos",
    licence="Apache-2.0",
    labels=LABELS,
)
