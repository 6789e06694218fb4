"""A static network beside a small level: the same layers, trained alone from the same start, as long as parts 1 and 2.

It says what sharing its weights with the other levels costs the level, or gives it.

Command: ds-keras ablate --config=zoo/ds_mobilenet_mini_imagenet/static.py --workdir=runs/mini_imagenet_static \
         --data=pack:DIRECTORY/mini_imagenet_84_webp.npz --variant='{"name": "alone"}' --seeds=0 --split=test
         Level 1: --variant='{"name": "alone, level 1", "levels": [1]}'
Hours:   one and a third on one CPU core without AVX-512. Needs the extra ``pretrained``.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.experiments import read_experiment

FIRST = read_experiment(Path(__file__).parent / "first.py")
ALONE = read_experiment(Path(__file__).parents[1] / "ds_mobilenet_imagenette" / "static.py")

EXPERIMENT = replace(
    FIRST,
    stage1=replace(FIRST.stage1, epochs=23, optimizer="adam", weight_decay=0.0, trainer=ALONE.stage1.trainer),
    stage2=None,
)
