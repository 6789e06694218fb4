import keras
import numpy as np
import pytest
from helpers import close, images, nano

from ds_keras.export import body_network
from ds_keras.export.flatbuffer import unpacked
from ds_keras.export.tflite import source as networks
from ds_keras.export.tflite.convert import convert, run_tflite
from ds_keras.export.tflite.source import ExportSource
from ds_keras.export.tflite.split_body import split_body

X = images(3)


@pytest.fixture(scope="module")
def network():
    """Three levels, random weights and statistics: do not change it."""
    return nano()


@pytest.fixture(scope="module")
def parts(network):
    return ExportSource(network)


def test_the_body_is_that_of_the_level(network, parts):
    entry, _ = parts.file("entry", 1)
    whole, body = run_tflite(entry, X), split_body(entry)
    close(whole["logits"], network(X, level=1))
    np.testing.assert_array_equal(run_tflite(body, whole["features"])["logits"], whole["logits"])
    close(run_tflite(body, whole["features"])["logits"], body_network(network, 1)(whole["features"]))


def test_nothing_of_the_start_is_left(parts):
    entry, graph = (unpacked(data) for data in (parts.file("entry", 2)[0], parts.file("body", 2)[0]))
    (subgraph,) = graph.subgraphs
    held = [index for op in subgraph.operators for index in (*op.inputs, *op.outputs) if index >= 0]
    assert set(held) == set(range(len(subgraph.tensors)))  # every tensor is used
    assert {tensor.buffer for tensor in subgraph.tensors} | {0} >= {
        i for i, buffer in enumerate(graph.buffers) if buffer.data is not None
    } - {entry.buffer for entry in graph.metadata}
    assert {op.opcodeIndex for op in subgraph.operators} == set(range(len(graph.operatorCodes)))
    assert 0 < len(subgraph.operators) < len(entry.subgraphs[0].operators)


def test_a_level_that_sees_the_images_otherwise_too():
    x = keras.Input((4,), name="images")
    features = keras.layers.Dense(3)(x)
    logits = keras.layers.Dense(2)(keras.layers.Concatenate()([features, x]))
    data = convert(keras.Model(x, {"features": features, "logits": logits}))
    with pytest.raises(ValueError, match="entry must give logits that depend on the images by the features alone"):
        split_body(data)


def test_a_body_that_cannot_be_cut_is_converted(parts, monkeypatch):
    def refuse(_):
        raise ValueError("entry must give")

    entry, _ = parts.file("entry", 1)
    features = run_tflite(entry, X)["features"]
    cut, _ = parts.file("body", 1)
    monkeypatch.setattr(networks, "split_body", refuse)
    converted, _ = parts.file("body", 1)
    close(run_tflite(converted, features)["logits"], run_tflite(cut, features)["logits"])
