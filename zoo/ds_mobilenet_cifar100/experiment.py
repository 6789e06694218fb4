"""DS-MobileNet on CIFAR-100 (32x32, 50,000 + 10,000 images). Untrained: no such run was made here.

Command: ds-keras train --config=zoo/ds_mobilenet_cifar100/experiment.py --workdir=runs/cifar100
"""

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSMobileNet

EXPERIMENT = Experiment(
    name="ds_mobilenet_cifar100",
    data="keras:cifar100",
    model=lambda classes, shape: DSMobileNet.small(classes, shape, name="ds_mobilenet_cifar100", residual=True),
    stage1=TrainingStage(
        epochs=100,
        learning_rate=0.1,
        augment="flip,pad_crop:4,trivial,erase:0.25",
        trainer={"num_random": 1, "distill_start": 4000, "weight_decay": 3e-4},
    ),
    stage2=TrainingStage(epochs=5, learning_rate=3e-3, optimizer="adam", augment="flip,pad_crop:4"),
    held_out=5000,
    data_terms="CIFAR-100 (no licence stated; Krizhevsky 2009)",
    licence="Apache-2.0",
)
