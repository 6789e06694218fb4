"""Static networks of a level's cost: how they are counted and found, never how long they take."""

import keras
import numpy as np
import pytest

from ds_keras.benchmarks import static
from ds_keras.runtime import Session


def test_the_count_is_that_of_the_paper():
    network = keras.applications.MobileNetV2(weights=None)  # 300 million: arXiv 1801.04381, table 4
    assert static.madds(network) == 300774272


def test_the_nearest_width_is_found():
    network, width, madds = static.matched("MobileNet", 5e6, (96, 96, 3), 10)
    assert madds == static.madds(network) and abs(madds / 5e6 - 1) < 0.1 and 0 < width < 0.5
    assert network.output.shape == (None, 10) and network.inputs[0].name == "images"


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match=r"family must be one of .*MobileNetV2.*received 'ResNet'"):
        static.matched("ResNet", 1e6, (96, 96, 3), 10)


def test_a_level_beside_a_static_file(path, monkeypatch):
    images = keras.Input((8, 8, 1), name="images")
    network = keras.Model(images, keras.layers.Dense(4)(keras.layers.Flatten()(images)))
    monkeypatch.setattr(static, "matched", lambda family, target, shape, classes: (network, 0.5, 256))
    session = Session(path)
    x = np.zeros((2, 8, 8, 1), "float32")
    row = static.beside(session, 1, "MobileNet", x, rounds=3)
    assert (row["what"], row["level"], row["kind"]) == ("MobileNet", 1, "0.5: 0.0M")
    assert row["a_ms"] > 0 and row["madds"] == pytest.approx(session.run(x[:1], level=1).madds[0] / 256)


def test_a_bundle_of_integers_is_refused(path):
    session = Session(path)
    session.manifest = {**session.manifest, "quantization": "int8"}
    with pytest.raises(ValueError, match="session must be of a bundle of float networks, received one of 'int8'"):
        static.beside(session, 0, "MobileNet", np.zeros((1, 8, 8, 1), "float32"))
