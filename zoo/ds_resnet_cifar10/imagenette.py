"""ds_resnet_cifar10 tuned on other data: Imagenette at 32 px, ten ImageNet classes (see WORKSPACE.md for what it gave).

Command: python tools/train.py --config=zoo/ds_resnet_cifar10/imagenette.py --workdir=runs/imagenette \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz
"""

from ds_keras import zoo
from ds_keras.training import Experiment, Stage

EXPERIMENT = Experiment(
    name="ds_resnet_imagenette_32px",
    data="pack:data/imagenette2_128_jpeg.npz",
    image_size=(32, 32),
    model=lambda classes, shape: zoo.load("ds_resnet_cifar10", num_classes=classes),
    stage1=Stage(
        epochs=6,
        learning_rate=0.02,
        augment="rrc:0.35,flip",
        trainer={"num_random": 1, "weight_decay": 5e-4, "label_smoothing": 0.05},
    ),
    stage2=Stage(epochs=2, learning_rate=3e-3, optimizer="adam", augment="rrc:0.35,flip"),
    held_out=1500,
    tolerance=0.003,
    data_terms="Imagenette v2, 128 px JPEG (ImageNet terms: non-commercial research and education)",
    licence="",
)
