"""An LC-ResNet as a TFLite file: the logits of Keras, branches that do not run, metadata."""

import json

import numpy as np
import pytest
from helpers import close, images, nano_lc

from ds_keras import export
from ds_keras.core import cost
from ds_keras.export import flatbuffer
from ds_keras.export.tflite import convert as litert
from ds_keras.lcnet.export import converted
from ds_keras.lcnet.model import LCStage
from ds_keras.lcnet.skipping import in_full
from ds_keras.runtime.network import Compiled, Interpreted

KINDS = {"both": {}, "layers": {"groups": 0}, "channels": {"layers": False}, "neither": {"layers": False, "groups": 0}}
X = images(6)
ONE = (LCStage(8, 1),)  # block


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("neither", "layers", "channels")]


@pytest.fixture(scope="module", params=["both", *SLOW])
def model(request):
    return nano_lc(labels=["a", "b", "c"], **KINDS[request.param])


@pytest.fixture(scope="module")
def data(model, tmp_path_factory):
    (path,) = export.to_tflite(model, tmp_path_factory.mktemp("lc"), licence="Apache-2.0")
    assert path.name == "dynamic.tflite"
    return path.read_bytes()


def test_logits_and_scales_are_those_of_keras(model, data):
    executed = model.run(X)
    for i in range(len(X)):
        found = litert.run_tflite(data, X[i : i + 1])
        close(found["logits"], executed.logits[i : i + 1])
        if model.units:
            close(found["scales"], executed.scales[i : i + 1])
        else:
            assert set(found) == {"logits"}


def test_a_batch_runs_what_any_image_needs(model, data):
    close(litert.run_tflite(data, X)["logits"], model.run(X).logits)


def test_another_precision():
    half = nano_lc(stages=ONE).clone("mixed_bfloat16")
    close(litert.run_tflite(converted(half), X[:1])["logits"], half.clone("float32").run(X[:1]).logits)


@pytest.mark.parametrize("engine", [Interpreted, Compiled])
def test_both_engines_of_litert(model, data, engine):
    network = engine(data, 1)
    for i in range(len(X)):
        close(network(X[i : i + 1])["logits"], model.run(X[i : i + 1]).logits)


def test_what_may_be_skipped_is_behind_a_conditional(model, data):
    names, graph = flatbuffer.operator_names(flatbuffer.unpacked(data)), flatbuffer.unpacked(data)
    assert ("IF" in names) == bool(model.units)
    main = [names[operator.opcodeIndex] for operator in graph.subgraphs[0].operators]
    always = 1 + sum(len(block.shortcut[:1]) for block in model.blocks)
    inner = {"both": 0, "layers": 0, "channels": 0, "neither": 2 * len(model.blocks)}
    kind = next(name for name, given in KINDS.items() if given == _kind(model))
    assert main.count("CONV_2D") == always + inner[kind]


def _kind(model):
    return {
        **({} if model.table["layers"] else {"layers": False}),
        **({} if model.table["groups"] else {"groups": 0}),
    }


def test_metadata(model, data):
    graph = flatbuffer.unpacked(data)
    (own,) = (entry for entry in graph.metadata if entry.name == b"ds_keras")
    said = json.loads(bytes(graph.buffers[own.buffer].data))
    assert said == {"part": "dynamic", "level": None, "levels": 0, "madds": model.madds}
    assert b"each image skips blocks and channels; at most" in graph.description
    assert b"a\nb\nc\n" in data and b"Apache-2.0" in data


@pytest.mark.parametrize("quantization", [pytest.param("float16", marks=pytest.mark.slow), "dynamic_int8"])
def test_smaller_files(model, data, tmp_path, quantization):
    (path,) = export.to_tflite(model, tmp_path, quantization=quantization)
    assert path.stat().st_size < len(data)
    found, executed = litert.run_tflite(path.read_bytes(), X[:1]), model.run(X[:1])
    if model.units:
        assert np.abs(found["scales"] - executed.scales).max() < 0.1
        executed = model.run(X[:1], scales=found["scales"])
    assert np.abs(found["logits"] - executed.logits).max() < 0.1 * max(1, np.abs(executed.logits).max())


def test_bad_arguments(tmp_path):
    model = nano_lc()
    with pytest.raises(ValueError, match="quantization of an LCResNet must be one of"):
        export.to_tflite(model, tmp_path, quantization="int8")
    with pytest.raises(ValueError, match="an LCResNet becomes one file, received levels=\\[0\\]"):
        export.to_tflite(model, tmp_path, levels=[0])
    for writer in (export.to_bundle, export.to_onnx):
        with pytest.raises(ValueError, match="an LCResNet has no slice levels"):
            writer(model, tmp_path / "out")
    with pytest.raises(ValueError, match="an LCResNet has no slice levels"):
        cost.madds(model, 0)
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_kept(monkeypatch, tmp_path):
    model = nano_lc(stages=ONE)
    other = converted(nano_lc(seed=5, stages=ONE), in_full)
    monkeypatch.setattr("ds_keras.lcnet.export.converted", lambda *args, **kwargs: other)
    with pytest.raises(RuntimeError, match="LiteRT differs from Keras"):
        export.to_tflite(model, tmp_path)
    assert not list(tmp_path.iterdir())
