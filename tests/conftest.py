import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before the first import of TensorFlow
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest
from helpers import images, tiny


@pytest.fixture(scope="module")
def model():
    """A tiny supernet with random weights and statistics, shared by a module's tests: do not change it."""
    return tiny()


@pytest.fixture(scope="session")
def x():
    """Twelve 8 px images of varied contrast."""
    return images(12)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
