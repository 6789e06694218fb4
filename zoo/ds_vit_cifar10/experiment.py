"""DS-ViT on CIFAR-10 (JPEG q75: 32x32, 46,000 + 10,000 images; the 4,000 that have originals are held out).

The beginning: the shipped weights went on from these for 566 epochs (continue.py and the card). This stage is some 4
hours on two CPU cores (at 0.7 s a step), 3 minutes as it was run.

Command: ds-keras train --config=zoo/ds_vit_cifar10/experiment.py --workdir=runs/ds_vit_cifar10 \
         --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSViT

EXPERIMENT = Experiment(
    name="ds_vit_cifar10",
    data="pack:data/cifar10_jpeg.npz+data/cifar10_lossless_train4000.npz",
    model=lambda classes, shape: DSViT.cifar(classes, shape, name="ds_vit_cifar10", gate_hidden=32),
    stage1=TrainingStage(
        epochs=60,
        learning_rate=1e-3,
        optimizer="adam",
        clip_norm=1.0,
        augment="flip,pad_crop:4,trivial",
        trainer={"num_random": 1, "distill_start": 2000, "weight_decay": 1e-5, "label_smoothing": 0.1},
    ),
    stage2=TrainingStage(epochs=2, learning_rate=3e-3, optimizer="adam", augment="flip,pad_crop:4"),
    held_out=5000,
    tolerance=0.003,
    precision="mixed_bfloat16",
    data_terms="CIFAR-10 as JPEG q75 (no licence stated; Krizhevsky 2009); a lossy copy, not comparable with published "
    "figures to the last points",
    licence="Apache-2.0",
)
