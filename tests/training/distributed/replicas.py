"""What the tests of training on several replicas share: a network that is traced quickly, and its data."""

import numpy as np
from helpers import fill, images

from ds_keras.data import Source
from ds_keras.models import DSMobileNet
from ds_keras.models.mobilenet import Stage

ROWS = (Stage(4, 1), Stage((4, 8), 1, 2, gate=True))


def network():
    """Two levels, two blocks, without weights of its own yet: the same random ones every time."""
    model = DSMobileNet(4, ROWS, 3, (8, 8, 1), stem_stride=1, gate_hidden=4, attention=False, dropout=0.2)
    model.build()
    return fill(model)


def source():
    """48 images that differ, in three classes."""
    return Source.from_arrays(images(48).astype("uint8"), np.arange(48) % 3, "abc")


def weights(model):
    """Copies of all weights."""
    return [np.array(weight) for weight in model.get_weights()]


def gap(first, second):
    """The largest difference of two lists of weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))
