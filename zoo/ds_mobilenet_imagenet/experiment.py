"""DS-MobileNet, the published 14-level layout, on ImageNet. Untrained: no such run was made here.

Command: ds-keras train --config=zoo/ds_mobilenet_imagenet/experiment.py --workdir=runs/imagenet \
         --data=tfrecord:DIRECTORY   (shards of train and val: ds-keras shards --data=folder:imagenet)
On several accelerators: --strategy=mirrored or multi_worker. Up to 8 keep this batch; beyond, batch and learning rate
grow together (64 images each). docs/guides/distributed.md has the arithmetic of work, traffic, input and memory.
Hours: 2.45e18 FLOP in all; on 8 accelerators that sustain 10 TFLOP/s each 8.5 hours, on 64 1.1 (not run).
The paper's schedule (150 epochs, batch 512, lr 0.08, weight decay 1e-4, RandAugment m9, erasing 0.2).
"""

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSMobileNet

EXPERIMENT = Experiment(
    name="ds_mobilenet_imagenet",
    data="tfrecord:data/imagenet",
    model=lambda classes, shape: DSMobileNet.imagenet(classes, input_shape=shape, name="ds_mobilenet_imagenet"),
    image_size=(224, 224),
    stage1=TrainingStage(
        epochs=150,
        learning_rate=0.08,
        batch_size=512,
        warmup=5 / 150,
        augment="rrc:0.08,flip,rand:2:9,erase:0.2",
        trainer={"num_random": 2, "weight_decay": 1e-4, "label_smoothing": 0.1},
    ),
    stage2=TrainingStage(epochs=30, learning_rate=1e-3, optimizer="adam", batch_size=512, augment="rrc:0.35,flip"),
    held_out=25000,
    data_terms="ImageNet (non-commercial research and education)",
    licence="Apache-2.0",
)
