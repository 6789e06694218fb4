"""LC-ResNet on CIFAR-10, from the largest level of ds_resnet_cifar10 (JPEG q75: 32x32, 46,000 + 10,000 images).

Not shipped yet: docs/decisions/lcnet.md says what has been tried, study.py beside this file tries it again in short
runs. The network starts as the shipped level (90.96 % held out) with predictors that let everything run; one stage
trains it towards a third of the multiply-adds. An epoch of 41,000 images is estimated at 7 minutes on two quiet CPU
cores; this recipe has not been run to its end.

Command: ds-keras train --config=zoo/lc_resnet_cifar10/experiment.py --workdir=runs/lc_resnet_cifar10 \
         --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

from ds_keras import zoo
from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.lcnet import from_level

STEPS = 41000 // 128  # of an epoch


def network(classes, shape):
    """The shipped network with predictors; the first block of every stage is never skipped whole."""
    options = {"groups": 4, "scale": "binary", "normalize": True, "gain": 40.0}
    return from_level(zoo.load("ds_resnet_cifar10"), always=1, name="lc_resnet_cifar10", **options)


EXPERIMENT = Experiment(
    name="lc_resnet_cifar10",
    data="pack:data/cifar10_jpeg.npz+data/cifar10_lossless_train4000.npz",
    model=network,
    stage1=TrainingStage(
        epochs=20,
        learning_rate=1e-4,  # of the network; the predictors' gain makes theirs ten times this
        optimizer="adam",
        augment="flip,pad_crop:4,erase:0.25",
        trainer={
            "target": 0.34,
            "anneal": 12 * STEPS,
            "balance": 0.1,
            "temperature": 0.25,
            "distill": 0.5,
            "label_smoothing": 0.05,
        },
    ),
    stage2=None,
    held_out=5000,
    data_terms="CIFAR-10 as JPEG q75 (no licence stated; Krizhevsky 2009); a lossy copy, not comparable with published "
    "figures to the last points",
    licence="Apache-2.0",
)
