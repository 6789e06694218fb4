"""int8 files and bundles: integers alone, one payload, and the numbers of the network that rounds in Keras."""

import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from helpers import array, close, images, nano_resnet, nano_vit, pair, spread_gate

from ds_keras.export import flatbuffer, to_bundle, to_tflite
from ds_keras.export.tflite import convert as litert
from ds_keras.export.tflite.source import ExportSource
from ds_keras.models.mobilenet import Stage
from ds_keras.models.vit import Row
from ds_keras.runtime import Bundle, Session

X = np.rint(images(24))
ROWS = (Row(4, 1, 6, 1), Row(8, 2, 12, 2))  # of a transformer with two levels
STAGES = (Stage(6, 1), Stage((4, 8), (1, 2), 2, gate=True), Stage((4, 12), 1, kernel=(1, 5)))  # of a ResNet with two
MAKE = {"mobilenet": lambda: pair(gate_hidden=4), "resnet": lambda: nano_resnet(stages=STAGES)}


@pytest.fixture(scope="module", params=[pytest.param("mobilenet", marks=pytest.mark.slow), "resnet"])
def network(request):
    """Two levels; channels with a negative factor, one with none, units that are always 0: do not change it."""
    model = MAKE[request.param]()
    spread_gate(model)
    dead = model.gate_block if request.param == "resnet" else model.blocks[-1].gate
    dead.reduce.bias.assign(-1e3 + 0 * dead.reduce.bias)
    for layer in model._flatten_layers():
        if type(layer).__name__ == "SliceableBatchNormalization":
            gamma = array(layer.gamma)
            gamma[1::3] *= -1
            gamma[2] = 0
            layer.gamma.assign(gamma)
    return model


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    return to_bundle(network, tmp_path_factory.mktemp("int8") / "bundle", "int8", X)


@pytest.fixture(scope="module")
def rounded(network):
    """The networks that round as the files do."""
    return ExportSource(network, "int8", X)


def test_whole_files(network, rounded, tmp_path):
    (path,) = to_tflite(network, tmp_path, levels=[1], quantization="int8", calibration_data=X)
    data = path.read_bytes()
    assert flatbuffer.float_operators(data) == []
    interpreter = Interpreter(model_content=data)
    (entry,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert entry["dtype"] is np.uint8 and entry["quantization"] == (1.0, 0) and out["dtype"] is np.float32
    found = litert.run_tflite(data, X)["logits"]
    close(found, rounded.plain("whole", 1)(X), 0.05)
    expected = array(network(X, level=1))
    assert np.abs(found - expected).mean() < 0.05 * np.abs(expected).max()


def test_kernels_are_stored_once(network, bundle):
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert manifest["quantization"] == "int8" and manifest["kernels"]["dtype"] == "int8"
    for name in Bundle(bundle).files:
        assert all(copy.factor is None for copy in Bundle(bundle).template(name).copies)
    kernels = Bundle(bundle).kernels
    assert kernels["classifier/kernel"].dtype == np.int8 and kernels["classifier/kernel"].shape[0] == 3
    for key, codes in kernels.items():
        dead = [2] if key.split("/")[0] in normalised(network) else []
        alive = np.delete(codes, dead, axis=3 if codes.shape[0] == 1 and "depthwise" in key else 0)
        assert np.abs(alive).max() == 127, key


def normalised(network):
    """Names of the convolutions with a BatchNorm, whose third channel is dead."""
    return {kernel.layer.name for kernel in ExportSource(network).folded("body", 1)[1] if kernel.factor is not None}


def test_a_level_is_byte_equal_to_the_file_of_to_tflite(network, bundle, tmp_path):
    (path,) = to_tflite(network, tmp_path, [1], "int8", X, part="body")
    assert Bundle(bundle).file("body_1") == path.read_bytes()
    assert flatbuffer.float_operators(path.read_bytes()) == []


def test_the_border_has_one_scale(bundle):
    route = Interpreter(model_content=Bundle(bundle).file("route"))
    features = route.get_signature_runner("serve").get_output_details()["features"]
    assert features["dtype"] is np.int8 and features["quantization"][0] > 0
    for level in range(2):
        (read,) = Interpreter(model_content=Bundle(bundle).file(f"body_{level}")).get_input_details()
        entry = Interpreter(model_content=Bundle(bundle).file(f"entry_{level}")).get_signature_runner("serve")
        for found in (read, entry.get_output_details()["features"]):
            assert found["dtype"] is np.int8 and found["quantization"] == features["quantization"]


@pytest.mark.parametrize("engine", ["interpreter", "compiled"])
def test_sessions(network, rounded, bundle, tmp_path, engine):
    session = Session(bundle, cache_dir=tmp_path, engine=engine)
    for level in range(2):
        found = session.run(X, level=level).logits
        close(found, rounded.plain("whole", level)(X), 0.05)
        np.testing.assert_array_equal(session.run(X.astype("uint8"), level=level).logits, found)
        np.testing.assert_array_equal(session.run(X + 0.3, level=level).logits, found)
    edge = np.stack([np.full((8, 8, 1), -7.0), np.full((8, 8, 1), 300.0)])
    np.testing.assert_array_equal(session.run(edge, level=0).logits, session.run(np.clip(edge, 0, 255), level=0).logits)
    for policy in ("gate", "cascade"):
        routed = session.run(X, policy=policy)
        expected = network.predict_routed(X, policy=policy)
        assert (routed.levels == expected.levels).mean() > 0.8
    assert session.features(X[0]).dtype == np.int8


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: pair(gate_hidden=4), id="mobilenet"),
        pytest.param(lambda: nano_vit(rows=ROWS), id="vit", marks=pytest.mark.slow),
    ],
)
def test_dynamic(make, tmp_path):
    model = make()
    path = to_bundle(model, tmp_path / "bundle", "dynamic_int8")
    (whole,) = to_tflite(model, tmp_path, [1], "dynamic_int8")
    session, kernels = Session(path), Bundle(path).kernels
    assert all(codes.dtype == np.int8 for codes in kernels.values()) and "classifier/kernel" in kernels
    assert not any("depthwise" in key for key in kernels)
    for level in range(len(model.levels)):
        expected = array(model(X, level=level))
        assert 0 < np.abs(session.run(X, level=level).logits - expected).max() < 0.1 * np.abs(expected).max()
    expected = array(model(X, level=1))
    found = litert.run_tflite(whole.read_bytes(), X)["logits"]
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_bad_arguments(network, tmp_path):
    with pytest.raises(ValueError, match="calibration_data must be given for quantization='int8'"):
        to_bundle(network, tmp_path / "x", "int8")
    with pytest.raises(ValueError, match="calibration_data belongs to int8, received it with quantization='float16'"):
        to_tflite(network, tmp_path / "x", quantization="float16", calibration_data=X)
    with pytest.raises(ValueError, match=r"int8 knows no .*use quantization='dynamic_int8'"):
        to_bundle(nano_vit(), tmp_path / "x", "int8", X)
    assert not list(tmp_path.iterdir())


def test_float_operators_are_refused(network, rounded):
    data = ExportSource(network).converted("whole", 0)
    with pytest.raises(RuntimeError, match="operators of the int8 file compute on float numbers"):
        rounded.check(data, "whole", 0)
