"""Goes on from the weights of ds_mobilenet_fashion_mnist, with a level before the others that has fewer blocks.

The new level has the widths of the smallest one and half of its multiply-adds, so that easy images leave early. Tried
once (50 minutes on two CPU cores that other work shared), and not shipped. Held-out top-1 %, every level: 91.24, then
93.42 / 94.26 / 94.52 / 94.78 where the shipped weights have 93.70 / 94.00 / 94.26 / 94.88. Thresholds for 0.3 points,
cross-fitted by a script that is not part of the repository: 4.9 times fewer multiply-adds with the new level, 4.7
without, and 5.6 with the shipped weights, whose smallest level is better. docs/decisions/routing.md says more.

Command: ds-keras train --config=zoo/ds_mobilenet_fashion_mnist/shallow.py \
         --workdir=runs/fashion_shallow --data=fashion_mnist:DIRECTORY
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ds_keras import zoo
from ds_keras.experiments import read_experiment
from ds_keras.models import DSMobileNet
from ds_keras.models.stage import Stage

PRESET = zoo.presets() / "ds_mobilenet_fashion_mnist"
FIRST = read_experiment(Path(PRESET) / "experiment.py")
STAGES = (
    Stage(32, 1, 1),
    Stage((32, 32, 64, 96, 128), (2, 4, 4, 4, 4), 2, gate=True),
    Stage((64, 64, 128, 192, 256), (1, 3, 3, 3, 3), 2),
)


def model(classes, shape):
    """The network of five levels, of which the new one begins as the first of the shipped four."""
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
