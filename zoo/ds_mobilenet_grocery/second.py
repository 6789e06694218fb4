"""The second part of ds_mobilenet_grocery, from the network that ``first.py`` leaves.

On all training photos, with stronger augmentation, for the large levels. What is chosen is chosen on the set's own part
``val``, photos of other days, which has 59 of the classes. ``experiment.py`` goes on from there.

Command: run first.py, then
         ds-keras train --config=zoo/ds_mobilenet_grocery/second.py --workdir=runs/grocery_second \
         --data=pack:DIRECTORY/grocery_160_jpeg.npz
Hours:   half of one on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

FIRST = read_experiment(Path(__file__).parent / "first.py")
START = "runs/grocery_first/preset"  # what first.py leaves

EXPERIMENT = replace(
    FIRST,
    name="ds_mobilenet_grocery_second",
    model=lambda classes, shape: zoo.load(START),
    head_images=0,
    order_images=0,  # ordered in the first part
    held_out="val",
    stage1=replace(
        FIRST.stage1,
        epochs=16,
        learning_rate=3e-4,
        augment="rrc:0.25,flip,trivial",
        trainer={**FIRST.stage1.trainer, "shares": (1.0, 0.5, 0.34, 0.25)},
    ),
)
