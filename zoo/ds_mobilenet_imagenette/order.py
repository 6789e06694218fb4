"""What the order of the channels is worth: the smallest level alone, trained for a short time from Lite0's weights.

Two variants from the same seeds: channels as the importer finds them, and channels ordered by 600 training images.

Command: ds-keras ablate --config=zoo/ds_mobilenet_imagenette/order.py --workdir=runs/imagenette_order \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz \
         --variant='{"name": "unordered", "order_images": 0}' --variant='{"name": "ordered"}'
Hours:   a quarter on two CPU cores. Needs the extra ``pretrained``.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.experiments import read_experiment

ALONE = read_experiment(Path(__file__).parent / "static.py")

EXPERIMENT = replace(
    ALONE,
    stage1=replace(ALONE.stage1, epochs=4, learning_rate=1e-3),
    train_images=4000,
    calibration=(10, 200),
)
