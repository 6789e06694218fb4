"""DS-MobileNetV2 on Grocery Store (81 classes, photos of smartphones, 160 px), from EfficientNet-Lite0's weights.

The second part, from the network that ``first.py`` leaves: on all training photos, with stronger augmentation. What is
chosen is chosen on the set's own part ``val``, photos of other days, which has 59 of the classes.

Command: run first.py, then
         ds-keras train --config=zoo/ds_mobilenet_grocery/experiment.py --workdir=runs/grocery \
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
    name="ds_mobilenet_grocery",
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
