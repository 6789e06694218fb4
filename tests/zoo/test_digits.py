"""The shipped digits preset: golden logits, and its figures measured again.

Goldens: ``python tests/zoo/make_golden.py`` (run it again when the preset's weights change).
"""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import close

from ds_keras import data, zoo
from ds_keras.evaluation.tables import evaluate

GOLDEN = Path(__file__).with_name("golden_digits.json")


@pytest.fixture(scope="module")
def model():
    """Do not change it."""
    return zoo.load("ds_mobilenet_digits")


@pytest.fixture(scope="module")
def golden():
    golden = json.loads(GOLDEN.read_text())
    assert golden["weights"] == zoo.card("ds_mobilenet_digits")["sha256"][zoo.WEIGHTS], (
        "the preset's weights have changed: python tests/zoo/make_golden.py"
    )
    return golden


def test_golden_logits(golden, model):
    """A fresh process, elsewhere: ``test_the_wheel_elsewhere`` of tests/test_package.py."""
    images = np.array(golden["images"], "float32")
    close([model(images, level=level) for level in range(len(model.levels))], golden["levels"], tolerance=1e-3)
    routed = model.predict_routed(images)
    assert routed.levels.tolist() == golden["routed"]
    expected = np.array(golden["levels"])[golden["routed"], np.arange(len(golden["routed"]))]
    for found in (routed.logits, model(images)):  # ``predict`` gives these: tests/models/test_running.py
        close(found, expected, tolerance=1e-3)


def test_goldens_say_something(golden):
    levels = np.array(golden["levels"])
    assert levels.shape[0] == 4 and levels.shape[2] == 10 and len(golden["images"]) >= 3
    assert len(set(golden["routed"])) >= 2 or zoo.card("ds_mobilenet_digits")["default_policy"] in range(4)
    assert np.abs(levels[1:] - levels[:-1]).max(axis=(1, 2)).min() > 0.1  # every level gives other logits


@pytest.mark.slow  # the golden logits guard the weights
def test_metrics_are_those_of_the_shipped_weights(model):
    card, test = zoo.card("ds_mobilenet_digits"), data.digits()["test"]
    found = evaluate(model, test.images(), test.labels)
    assert model.default_policy == card["default_policy"]
    assert f"{len(test)} test images" in card["tested_on"]
    assert len(found["levels"]) == len(card["levels"])
    for row, expected in zip(found["levels"], card["levels"], strict=True):
        assert (row["madds"], row["params"]) == (expected["madds"], expected["params"])
        assert row["top1"] == pytest.approx(expected["top1"], abs=0.1)
        assert row["top5"] == pytest.approx(expected["top5"], abs=0.1)
    assert [row["policy"] for row in found["policies"]] == [row["policy"] for row in card["policies"]]
    for row, expected in zip(found["policies"], card["policies"], strict=True):
        assert row["top1"] == pytest.approx(expected["top1"], abs=0.1), row["policy"]
        assert row["madds"] == pytest.approx(expected["madds"], rel=1e-3), row["policy"]
        assert row["share"] == pytest.approx(expected["share"], abs=1e-3), row["policy"]
