"""Your own images: copy this file, and change what the comments name.

Command: cp zoo/image_folder/experiment.py photos.py    (and not --config=zoo/image_folder/experiment.py itself)
         ds-keras train --config=photos.py --workdir=runs/photos
"""

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.models import DSMobileNet

EXPERIMENT = Experiment(
    name="image_folder",  # of the preset
    data="folder:photos",  # photos/<class>/*, or photos/train/<class>/* and photos/val/<class>/*
    image_size=(64, 64),
    model=lambda classes, shape: DSMobileNet.small(classes, shape, name="image_folder", gate_hidden=32),
    stage1=TrainingStage(
        epochs=60,  # fewer for more than some 20,000 images
        learning_rate=0.05,
        batch_size=64,  # at most the number of training images, without those held out
        augment="rrc:0.35,flip,trivial",
        trainer={"num_random": 1, "weight_decay": 3e-4, "label_smoothing": 0.05},
    ),
    stage2=TrainingStage(epochs=5, learning_rate=3e-3, optimizer="adam", batch_size=64, augment="rrc:0.35,flip"),
    held_out=0.1,  # share of the training images that thresholds and default policy are chosen on
    tolerance=0.01,  # accuracy that the default policy may lose: 200 images held out are the fewest that can show it
    data_terms="images of a folder",  # for the card: what they are, and their terms
    licence="",  # for the card: that of the weights
)
