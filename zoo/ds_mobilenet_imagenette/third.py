"""A trial: ds_mobilenet_imagenette trained further, the other levels by the moving average of the largest one.

Command: ds-keras train --config=zoo/ds_mobilenet_imagenette/third.py --workdir=runs/imagenette_third \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz
Hours:   two thirds of one on one CPU core (AVX-512), beside other work.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

SECOND = read_experiment(Path(__file__).parent / "experiment.py")
TRAINER = {"objective": "ib", "hard_label_weight": 0.3, "shares": (1.0, 0.5, 0.34, 0.34)}

EXPERIMENT = replace(
    SECOND,
    name="ds_mobilenet_imagenette_third",
    model=lambda classes, shape: zoo.load("ds_mobilenet_imagenette"),
    stage1=replace(SECOND.stage1, epochs=15, trainer={**SECOND.stage1.trainer, **TRAINER}),
)
