import numpy as np
import pytest
import shared
from helpers import images

from ds_keras.evaluation import parity
from ds_keras.routing import execute as routing
from ds_keras.runtime import Session

X = images(24)


@pytest.fixture(scope="module")
def network():
    return shared.budgeted()


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return Session(shared.one_file("budgeted", tmp_path_factory))


def test_a_bundle_equals_its_model(network, session):
    labels = routing.predict_levels(network, X)[2].argmax(1)
    rows = parity.compare(network, session, X, labels)
    assert [row["level"] for row in rows] == [0, 1, 2, f"default ({network.default_policy})"]
    assert rows[2]["top1"] == 100 and all(row["same"] == 100 and row["top1"] == row["keras"] for row in rows)
    assert all(0 <= row["difference"] < 1e-3 for row in rows)


def test_another_model_is_told_apart(session):
    other = shared.budgeted().clone()
    other.classifier.bias.assign([100.0, 0, 0])  # always the first class
    rows = parity.compare(other, session, X, np.zeros(24, int))
    assert all(row["keras"] == 100 and row["difference"] > 90 for row in rows)
    assert min(row["same"] for row in rows) < 100
