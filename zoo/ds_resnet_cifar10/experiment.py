"""DS-ResNet on CIFAR-10 (JPEG q75: 32x32, 46,000 + 10,000 images; the 4,000 that have originals are held out).

Levels 86.9 / 88.3 / 89.6 / 90.0 % on the test set, routed 89.9 % at 34 % of the MAdds; Stage I is some 5 hours on two
CPU cores (at 0.6 s a step), 6 minutes as it was run (see the card).

Command: ds-keras train --config=zoo/ds_resnet_cifar10/experiment.py --workdir=runs/ds_resnet_cifar10 \
         --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSResNet

EXPERIMENT = Experiment(
    name="ds_resnet_cifar10",
    data="pack:data/cifar10_jpeg.npz+data/cifar10_lossless_train4000.npz",
    model=lambda classes, shape: DSResNet.cifar(classes, shape, name="ds_resnet_cifar10", gate_hidden=32),
    stage1=TrainingStage(
        epochs=100,
        learning_rate=0.1,
        augment="flip,pad_crop:4,erase:0.25",
        trainer={"num_random": 1, "distill_start": 2000, "weight_decay": 5e-4, "label_smoothing": 0.05},
    ),
    stage2=TrainingStage(epochs=2, learning_rate=3e-3, optimizer="adam", augment="flip,pad_crop:4"),
    held_out=5000,
    tolerance=0.003,
    precision="mixed_bfloat16",
    data_terms="CIFAR-10 as JPEG q75 (no licence stated; Krizhevsky 2009); a lossy copy, not comparable with published "
    "figures to the last points",
    licence="Apache-2.0",
)
