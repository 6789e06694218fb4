"""DS-ResNet on Imagenette (ten ImageNet classes, 128x128 JPEG), from random weights, taught by ds_mobilenet_imagenette.

No package brings ImageNet weights of a small ResNet, and nine thousand photos are few to begin from nothing. The
teacher sees the same crops as the network. Every level trains in every step, on crops of 96 px. No preset is shipped:
"Photos from random weights" in docs/decisions/training.md has the figures.

Command: ds-keras train --config=zoo/ds_resnet_imagenette/experiment.py --workdir=runs/resnet_imagenette \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz
Hours:   one and a half on two CPU cores, beside other work.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.experiments import TrainingStage, read_experiment
from ds_keras.models import DSResNet
from ds_keras.models.stage import Stage

FIRST = read_experiment(Path(__file__).parents[1] / "ds_mobilenet_imagenette" / "first.py")
STAGES = (
    Stage(24, 1, 1),
    Stage((24, 40, 56, 64), 2, 2, gate=True),
    Stage((48, 80, 112, 128), 2, 2),
    Stage((96, 160, 224, 256), 2, 2),
)


def model(classes: int, shape: tuple[int, int, int]) -> DSResNet:
    """Basic blocks behind a stem of stride 4."""
    given = {"mean": 127.0, "std": 128.0, "gate_hidden": 32, "name": "ds_resnet_imagenette"}
    return DSResNet(24, STAGES, classes, shape, stem_kernel=3, block="basic", **given)


EXPERIMENT = replace(
    FIRST,
    name="ds_resnet_imagenette",
    model=model,
    order_images=0,
    stage1=TrainingStage(
        epochs=18,
        learning_rate=2e-3,
        optimizer="adamw",
        batch_size=128,
        warmup=0.05,
        augment="rrc:0.3,flip",
        clip_norm=5.0,
        weight_decay=0.05,
        image_size=(96, 96),
        trainer={
            "num_random": None,
            "objective": "distill",
            "teacher": "ds_mobilenet_imagenette",
            "hard_label_weight": 0.3,
            "label_smoothing": 0.1,
            "weight_decay": 0.0,
            "shares": (1.0, 0.5, 0.5, 1.0),
        },
    ),
    data_terms="Imagenette v2, 128 px JPEG (ImageNet's terms: non-commercial research and education); learned from "
    "ds_mobilenet_imagenette, which starts from EfficientNet-Lite0's ImageNet weights (Apache-2.0). 3,791 of the 3,925 "
    "test photos are from ImageNet's training set, as their names say, so that start has seen them",
)
