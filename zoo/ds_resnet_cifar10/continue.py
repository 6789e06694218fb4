"""Goes on from the weights of ds_resnet_cifar10: a distillation from ds_vit_cifar10, every level in every step.

The ViT learned from this network and passed it. Augmentation is weak: strong one costs the smallest level most.

Command: ds-keras train --config=zoo/ds_resnet_cifar10/continue.py --workdir=runs/ds_resnet_cifar10_more \
         --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

PRESET = zoo.presets() / "ds_resnet_cifar10"
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
    precision="float32",
    stage1=replace(
        FIRST.stage1,
        epochs=2,
        learning_rate=2e-3,
        augment="flip,pad_crop:4",
        trainer={
            "num_random": None,
            "weight_decay": 5e-4,
            "objective": "distill",
            "teacher": "ds_vit_cifar10",
            "hard_label_weight": 0.1,
            "label_smoothing": 0.0,
            "shares": (1.0, 0.5, 0.34, 0.25),
        },
    ),
)
