"""DS-MobileNetV2 on Imagenette (ten ImageNet classes, 128x128 JPEG), from EfficientNet-Lite0's ImageNet weights.

The second part, from the network that ``first.py`` leaves: every level trains with the statistics of its batches.

Command: run first.py, then
         ds-keras train --config=zoo/ds_mobilenet_imagenette/experiment.py --workdir=runs/imagenette \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz
Hours:   one on two CPU cores.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ds_keras import zoo
from ds_keras.experiments import TrainingStage, read_experiment

FIRST = read_experiment(Path(__file__).parent / "first.py")
START = "runs/imagenette_first/preset"  # what first.py leaves


def model(classes: int, shape: tuple[int, int, int]) -> Any:
    """The network that the first part trained."""
    network = zoo.load(START)
    if (network.num_classes, network.image_shape) != (classes, shape):
        received = f"{network.num_classes} and {network.image_shape}"
        raise ValueError(f"{START} must have {classes} classes and images of {shape}, received {received}")
    return network


EXPERIMENT = replace(
    FIRST,
    name="ds_mobilenet_imagenette",
    model=model,
    order_images=0,  # ordered in the first part
    stage1=replace(
        FIRST.stage1,
        epochs=31,
        learning_rate=3e-4,
        trainer={**FIRST.stage1.trainer, "fixed_statistics": (), "shares": (1.0, 0.34, 0.17, 0.25)},
    ),
    stage2=TrainingStage(epochs=1, learning_rate=3e-3, optimizer="adam", augment="flip"),
)
