"""DS-MobileNet on Fashion-MNIST (28x28 grey, 60,000 + 10,000 images).

Command: ds-keras train --config=zoo/ds_mobilenet_fashion_mnist/experiment.py \
         --workdir=runs/fashion --data=fashion_mnist:DIRECTORY
"""

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSMobileNet

EXPERIMENT = Experiment(
    name="ds_mobilenet_fashion_mnist",
    data="fashion_mnist:data/fashion-mnist",
    model=lambda classes, shape: DSMobileNet.small(
        classes, shape, name="ds_mobilenet_fashion_mnist", activation="relu", residual=True, gate_hidden=32
    ),
    stage1=TrainingStage(
        epochs=44,
        cycles=2,
        learning_rate=0.1,
        augment="flip,pad_crop:2,erase:0.2",
        trainer={"num_random": 1, "distill_start": 3000, "weight_decay": 3e-4, "label_smoothing": 0.05},
    ),
    stage2=TrainingStage(epochs=2, learning_rate=3e-3, optimizer="adam", augment="flip,pad_crop:2"),
    held_out=5000,
    data_terms="Fashion-MNIST (MIT, (c) 2017 Zalando SE; Xiao, Rasul and Vollgraf, arXiv 1708.07747)",
    licence="Apache-2.0",
)
