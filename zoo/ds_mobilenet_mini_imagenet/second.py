"""The second part of ds_mobilenet_mini_imagenet, from the network that ``first.py`` leaves.

The small levels get more of each step. ``experiment.py`` goes on from there.

Command: run first.py, then
         ds-keras train --config=zoo/ds_mobilenet_mini_imagenet/second.py --workdir=runs/mini_imagenet_second \
         --data=pack:DIRECTORY/mini_imagenet_84_webp.npz
Hours:   one and a half on two CPU cores that other work shared.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

FIRST = read_experiment(Path(__file__).parent / "first.py")
START = "runs/mini_imagenet_first/preset"  # what first.py leaves

EXPERIMENT = replace(
    FIRST,
    name="ds_mobilenet_mini_imagenet_second",
    model=lambda classes, shape: zoo.load(START),
    order_images=0,  # ordered in the first part
    stage1=replace(
        FIRST.stage1,
        epochs=12,
        trainer={**FIRST.stage1.trainer, "shares": (1.0, 0.5, 0.25, 0.15)},
    ),
)
