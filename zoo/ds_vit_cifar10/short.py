"""ds_vit_cifar10 at 16 px: a quarter of the tokens, for comparisons of Stage I that take minutes on two CPU cores.

Command: ds-keras ablate --config=zoo/ds_vit_cifar10/short.py --workdir=runs/mvco --seeds=0,1,2 \
         --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz --epochs=3 \
         --train_images=4000 --variant='{"objective": "ce"}' --variant='{"objective": "mvco", "distill_start": 30}'
"""

from dataclasses import replace
from pathlib import Path

from ds_keras import zoo
from ds_keras.experiments import read_experiment

FIRST = read_experiment(Path(zoo.presets()) / "ds_vit_cifar10" / "experiment.py")
EXPERIMENT = replace(FIRST, name="ds_vit_cifar10_16px", image_size=(16, 16), precision="float32")
