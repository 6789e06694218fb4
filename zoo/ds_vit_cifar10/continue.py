"""Goes on from the weights of ds_vit_cifar10: a long distillation from ds_resnet_cifar10, every level in every step.

The shipped weights are those of experiment.py after 34 epochs of shorter continuations (see the card), one run of this
file, and one of 126 epochs at learning rate 1e-3: on the held-out images the levels rose from 80.1 / 81.6 / 82.8 / 83.9
to 87.7 / 89.9 / 90.9 / 91.3 and then to 87.7 / 90.4 / 91.2 / 91.5 %. A patient teacher (arXiv 2106.05237): it and the
network see the same mixed images, so that each epoch asks new questions.

Command: ds-keras train --config=zoo/ds_vit_cifar10/continue.py --workdir=runs/ds_vit_cifar10_more \
         --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

PRESET = zoo.presets() / "ds_vit_cifar10"
FIRST = read_experiment(Path(PRESET) / "experiment.py")


def model(classes, shape):
    """The first experiment's network with the shipped weights."""
    network = FIRST.model(classes, shape)
    network.build()
    network.set_weights(zoo.load(PRESET).get_weights())
    return network


EXPERIMENT = replace(
    FIRST,
    model=model,
    stage1=replace(
        FIRST.stage1,
        epochs=406,
        batch_size=512,
        optimizer="adamw",
        learning_rate=1.5e-3,
        weight_decay=0.05,
        warmup=0.05,
        augment="flip,pad_crop:4,rand:1:7",
        mixup=0.8,
        trainer={
            "num_random": None,
            "weight_decay": 0.0,
            "objective": "distill",
            "teacher": "ds_resnet_cifar10",
            "hard_label_weight": 0.1,
            "label_smoothing": 0.0,
        },
    ),
)
