"""Goes on from the weights of ds_mobilenet_fashion_mnist, with a level before the others that has fewer blocks.

The shipped weights are those of experiment.py, which has four levels, after one run of this file. Easy images leave
early: the new level has the widths of the old smallest one, and half of its multiply-adds.

Command: python tools/train.py --config=zoo/ds_mobilenet_fashion_mnist/shallow.py \
         --workdir=runs/fashion_shallow --data=fashion_mnist:DIRECTORY
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ds_keras import zoo
from ds_keras.models import DSMobileNet
from ds_keras.models.stage import Stage as Row
from ds_keras.training import read_experiment

PRESET = zoo.presets() / "ds_mobilenet_fashion_mnist"
FIRST = read_experiment(Path(PRESET) / "experiment.py")
STAGES = (
    Row(32, 1, 1),
    Row((32, 32, 64, 96, 128), (2, 4, 4, 4, 4), 2, gate=True),
    Row((64, 64, 128, 192, 256), (1, 3, 3, 3, 3), 2),
)


def model(classes, shape):
    """The network of five levels; where the shipped weights have four, the new one begins as their first."""
    shipped = zoo.load(PRESET)
    given = {"stem_stride": 1, "activation": "relu", "residual": True, "gate_hidden": 32}
    network = DSMobileNet(16, STAGES, classes, shape, name=shipped.name, **given)
    network.build()
    weights = {weight.path: np.array(weight) for weight in shipped.weights}
    for weight in network.weights:
        value = weights[weight.path]
        for axis, (new, old) in enumerate(zip(weight.shape, value.shape, strict=True)):
            if new != old:
                value = np.insert(value, 0, value.take(0, axis), axis)
        weight.assign(value)
    return network


EXPERIMENT = replace(
    FIRST,
    model=model,
    stage1=replace(
        FIRST.stage1,
        epochs=10,
        cycles=1,
        learning_rate=0.05,
        trainer={**FIRST.stage1.trainer, "num_random": 2, "distill_start": 0},
    ),
)
