"""DS-MobileNetV2 on mini-ImageNet (100 ImageNet classes), 128 px: a general start for photos of your own.

The third part, from the network that ``second.py`` leaves: the other levels learn from the moving average of the
largest one, which sees half of each batch.

Command: run first.py and second.py, then
         ds-keras train --config=zoo/ds_mobilenet_mini_imagenet/experiment.py --workdir=runs/mini_imagenet \
         --data=pack:DIRECTORY/mini_imagenet_84_webp.npz
Hours:   one and a half on one CPU core (AVX-512), beside other work.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

SECOND = read_experiment(Path(__file__).parent / "second.py")
START = "runs/mini_imagenet_second/preset"  # what second.py leaves
TRAINER = {"objective": "ib", "hard_label_weight": 0.3, "shares": (1.0, 0.5, 0.34, 0.5)}

EXPERIMENT = replace(
    SECOND,
    name="ds_mobilenet_mini_imagenet",
    model=lambda classes, shape: zoo.load(START),
    stage1=replace(SECOND.stage1, epochs=12, trainer={**SECOND.stage1.trainer, **TRAINER}),
)
