"""ds_mobilenet_fashion_mnist tuned on other data: scikit-learn's digits at 28 px (what it gave: docs/results.md).

Command: ds-keras train --config=zoo/ds_mobilenet_fashion_mnist/digits.py --workdir=runs/digits_28px
"""

from ds_keras import zoo
from ds_keras.experiments import Experiment, TrainingStage

EXPERIMENT = Experiment(
    name="ds_mobilenet_digits_28px",
    data="digits",
    image_size=(28, 28),
    model=lambda classes, shape: zoo.load("ds_mobilenet_fashion_mnist", num_classes=classes),
    stage1=TrainingStage(
        epochs=20,
        learning_rate=0.02,
        batch_size=64,
        augment="shift:2",
        trainer={"num_random": 1, "weight_decay": 3e-4, "label_smoothing": 0.05},
    ),
    stage2=TrainingStage(epochs=5, learning_rate=3e-3, optimizer="adam", batch_size=64, augment="shift:2"),
    held_out=280,
    calibration=(17, 64),
    data_terms="scikit-learn digits (UCI Optical Recognition of Handwritten Digits, Alpaydin and Kaynak, CC BY 4.0)",
    licence="",
)
