"""Bundles that several test files read: each is made once in a run of the tests, by whichever worker comes first."""

import fcntl
import functools
import os

import keras
import numpy as np
from damaged import as_file, parts_of
from helpers import budgeted_nano, fill, images, nano, pair

from ds_keras import detection, export
from ds_keras.policies.budget_table import BudgetRow, BudgetTable
from tests.detection import scenes


@functools.cache
def budgeted():
    """``nano`` with a budget table: three levels, images of different levels. One for a process: do not change it."""
    return budgeted_nano(images(24), points=9, name="budgeted")


def labelled():
    """``nano`` with labels that a text file has to clean."""
    return nano(name="small", labels=["cat", "wild\n dog", "été"])


def detector():
    """Untrained, with scores that differ; its head reads a stride from before the border of start and body."""
    keras.utils.set_random_seed(0)
    model = scenes.detector(gate=3)
    model.build()
    fill(model.head_block)
    return model


def cascade(spec):
    """Of ``detector``: both levels, in rows for the cost of the smallest one and of both."""
    costs = (spec.start + np.cumsum(spec.bodies)).tolist()
    rows = [BudgetRow((0.0,), costs[0], 0.4, (1.0, 0.0)), BudgetRow((1.01,), costs[1], 0.8, (1.0, 1.0))]
    return detection.DetectionCascade(spec, BudgetTable({"cascade": tuple(rows)}), thresholds=(0.05,))


MAKE = {
    "detector.dsbundle": lambda path: detection.to_bundle(detector(), path, cascade=cascade(detector().spec)),
    "labelled": lambda path: export.to_bundle(labelled(), path, licence="CC0-1.0"),
    "int8": lambda path: export.to_bundle(pair(), path, "int8", np.rint(images(8))),  # two levels
    "budgeted": lambda path: export.to_bundle(budgeted(), path),
    "half": lambda path: export.to_bundle(pair(name="half"), path, "float16"),  # two levels; files hold the name
}


def bundle(name, tmp_path_factory):
    """A bundle of ``MAKE``: do not change it.

    Args:
        name: key of ``MAKE``.
        tmp_path_factory: pytest's fixture.

    Returns:
        Its path.
    """
    base = tmp_path_factory.getbasetemp()  # of one worker
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    path = folder / name
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            MAKE[name](path)
    return path


def one_file(name, tmp_path_factory):
    """As ``bundle``, in one file."""
    path = tmp_path_factory.mktemp("one_file") / f"{name}.dsbundle"
    as_file(path, parts_of(bundle(name, tmp_path_factory)))
    return path
