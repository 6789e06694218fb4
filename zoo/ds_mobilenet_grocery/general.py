"""Grocery from ds_mobilenet_mini_imagenet, whose small levels know a hundred classes. Not shipped: see the decisions.

Command: ds-keras train --config=zoo/ds_mobilenet_grocery/general.py --workdir=runs/grocery_general \
         --data=pack:DIRECTORY/grocery_160_jpeg.npz
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

SECOND = read_experiment(Path(__file__).parent / "experiment.py")


def model(classes, shape):
    """The general network, with a new classifier, at the size of these photos."""
    return zoo.load("ds_mobilenet_mini_imagenet", num_classes=classes, image_size=shape[:2])


EXPERIMENT = replace(
    SECOND,
    model=model,
    head_images=1000,
    stage1=replace(SECOND.stage1, epochs=14, learning_rate=5e-4),
)
