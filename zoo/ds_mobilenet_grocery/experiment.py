"""DS-MobileNetV2 on Grocery Store (81 classes, photos of smartphones, 160 px), from EfficientNet-Lite0's weights.

The third part, from the network that ``second.py`` leaves: the other levels learn from the moving average of the
largest one, without the strong augmentation, which cost the smallest level most.

Command: run first.py and second.py, then
         ds-keras train --config=zoo/ds_mobilenet_grocery/experiment.py --workdir=runs/grocery \
         --data=pack:DIRECTORY/grocery_160_jpeg.npz
Hours:   one and a quarter on one CPU core without AVX-512, beside other work.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

SECOND = read_experiment(Path(__file__).parent / "second.py")
START = "runs/grocery_second/preset"  # what second.py leaves

EXPERIMENT = replace(
    SECOND,
    name="ds_mobilenet_grocery",
    model=lambda classes, shape: zoo.load(START),
    stage1=replace(
        SECOND.stage1,
        epochs=24,
        augment="rrc:0.25,flip",
        trainer={**SECOND.stage1.trainer, "objective": "ib", "hard_label_weight": 0.3},
    ),
)
