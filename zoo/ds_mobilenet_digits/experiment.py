"""DS-MobileNet on scikit-learn's digits (8x8, 1,797 real images): the preset that trains in minutes.

Command: ds-keras train --config=zoo/ds_mobilenet_digits/experiment.py --workdir=runs/digits
"""

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSMobileNet

EXPERIMENT = Experiment(
    name="ds_mobilenet_digits",
    data="digits",
    model=lambda classes, shape: DSMobileNet.tiny(classes, shape, name="ds_mobilenet_digits", gate_hidden=32),
    stage1=TrainingStage(
        epochs=150,
        learning_rate=0.1,
        batch_size=64,
        augment="shift:1",
        trainer={"num_random": None, "quantize": "int8"},
    ),
    stage2=TrainingStage(epochs=20, learning_rate=3e-3, optimizer="adam", batch_size=64, augment="shift:1"),
    held_out=280,
    calibration=(17, 64),
    data_terms="scikit-learn digits (UCI Optical Recognition of Handwritten Digits, Alpaydin and Kaynak, CC BY 4.0)",
    licence="Apache-2.0",
)
