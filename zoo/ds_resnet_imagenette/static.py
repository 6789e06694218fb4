"""A static network beside a small level: the same layers, teacher and epochs, trained alone from the same start.

It says what sharing its weights with the other levels costs the level, or gives it.

Command: ds-keras ablate --config=zoo/ds_resnet_imagenette/static.py --workdir=runs/resnet_imagenette_static \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz --variant='{"name": "alone"}' --seeds=0 --split=test
         Level 1: --variant='{"name": "alone, level 1", "levels": [1]}'
Hours:   half of one on one CPU core (AVX-512), beside other work. Needs open_nsfw: see experiment.py.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.experiments import read_experiment

SUPERNET = read_experiment(Path(__file__).parent / "experiment.py")
TRAINER = {**SUPERNET.stage1.trainer, "levels": (0,), "weight_decay": 1e-4}
del TRAINER["shares"]

EXPERIMENT = replace(
    SUPERNET,
    stage1=replace(SUPERNET.stage1, optimizer="adam", weight_decay=0.0, trainer=TRAINER),
    stage2=None,
)
