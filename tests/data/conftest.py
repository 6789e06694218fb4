import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ds_keras.data import Source

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real image sets; tests that need it are skipped without it."""
    folder = Path(os.environ.get("DS_KERAS_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no image sets in {folder}: set DS_KERAS_DATA")
    return folder


@pytest.fixture(scope="session")
def source():
    """53 images of 8x6, three channels, four classes of 20, 15, 12 and 6."""
    labels = np.repeat(np.arange(4), [20, 15, 12, 6])
    images = np.random.RandomState(0).randint(0, 256, (53, 8, 6, 3)).astype("uint8")
    images[:, 0, 0, 0] = np.arange(53)  # names the image
    return Source.from_arrays(images, labels, ["a", "b", "c", "d"], "toy")


@pytest.fixture
def save(tmp_path):
    """save("folder/name.jpg", pixels or image, **options of Pillow) -> path."""

    def write(name, image, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image, "uint8"))
        image.save(path, **options)
        return path

    return write
