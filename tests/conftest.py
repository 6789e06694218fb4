import gc
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before the first import of TensorFlow
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest
from hypothesis import settings


def pytest_configure(config):
    """How many cases Hypothesis tries where a test does not say, and TensorFlow's threads: more with the slow tests."""
    quick = config.option.markexpr == "not slow"
    settings.register_profile("suite", max_examples=20 if quick else 200, deadline=None)
    settings.load_profile("suite")
    if quick:  # there is a worker for each core; tiny networks gain nothing from more threads
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")


LAST = ("core", "layers", "photos", "policies")


def pytest_collection_modifyitems(items):
    """Folders of short files come last: then no worker waits long for the last file of another."""
    items.sort(key=lambda item: item.path.relative_to(Path(__file__).parent).parts[0] in LAST)


def pytest_collection_finish():
    """What was imported stays: Python need not look through it for garbage again and again.

    ``gc.collect()`` leaves the oldest objects alone in all tests. One that must see every object collected calls
    ``gc.collect_all()``.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    gc.collect_all = gc.collect  # TensorFlow asks for it with every file that it converts
    gc.collect = lambda generation=1: gc.collect_all(min(generation, 1))


@pytest.fixture(scope="module")
def model():
    """A tiny supernet with random weights and statistics, shared by a module's tests: do not change it."""
    from helpers import tiny  # here: the process that starts the workers reads this file, and needs no TensorFlow

    return tiny()


@pytest.fixture(scope="session")
def x():
    """Twelve 8 px images of varied contrast."""
    from helpers import images

    return images(12)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
