import sys

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from helpers import close, images, nano

from ds_keras.export import flatbuffer, subnet, to_tflite
from ds_keras.export.tflite import convert as litert
from ds_keras.export.tflite import source as networks
from ds_keras.export.tflite import writer as tflite

X = images(7)
TOLERANCE = {None: 1e-4, "float16": 2e-2}
BUILTIN = {"ADD", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "FULLY_CONNECTED", "LOGISTIC", "MEAN", "MUL"}


@pytest.fixture(scope="module")
def network():
    """Three levels, random weights and statistics: do not change it."""
    return nano()


@pytest.fixture(scope="module", params=[None, "float16"], ids=str)
def exported(request, network, tmp_path_factory):
    """Quantization, and its files by level."""
    directory = tmp_path_factory.mktemp("tflite") / "new" / "folder"
    levels = {None: [0, 1, 2], "float16": [1]}[request.param]
    files = to_tflite(network, directory, "all" if len(levels) == 3 else levels, request.param)
    return request.param, dict(zip(levels, files, strict=True))


def invoke(path, x):
    """Runs a file one image at a time, as a phone does: no resizing."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    outputs = []
    for image in x:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(outputs)


def test_every_level_equals_keras(network, exported):
    quantization, paths = exported
    assert [path.name for path in paths.values()] == [f"level_{level}.tflite" for level in paths]
    assert sorted(paths[1].parent.iterdir()) == list(paths.values())
    every = [np.asarray(network(X, level=level)) for level in range(3)]
    for level, path in paths.items():
        close(invoke(path, X), every[level], TOLERANCE[quantization])
    for a, b in ((0, 1), (1, 2), (0, 2)):  # a file of another level would not pass
        assert np.abs(every[a] - every[b]).max() > 5 * TOLERANCE[quantization] * max(1, np.abs(every[b]).max())


def test_the_interface(exported):
    for path in exported[1].values():
        interpreter = Interpreter(model_path=str(path))
        assert interpreter.get_signature_list() == {"serve": {"inputs": ["images"], "outputs": ["logits"]}}
        (image,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
        assert image["shape"].tolist() == [1, 8, 8, 1] and image["dtype"] is np.float32
        assert logits["shape"].tolist() == [1, 3] and logits["dtype"] is np.float32
        found = interpreter.get_signature_runner("serve")(images=X[:1])["logits"]
        close(found, invoke(path, X[:1]), tolerance=1e-6)


def test_builtin_operators_only(exported):
    quantization, paths = exported
    for path in paths.values():
        found = set(flatbuffer.operators(path.read_bytes()))
        assert "CONV_2D" in found and found <= BUILTIN
        assert ("DEQUANTIZE" in found) == (quantization == "float16")


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_resizable(exported, network, batch):
    quantization, paths = exported
    found = litert.run_tflite(paths[1].read_bytes(), X[:batch])["logits"]
    close(found, network(X[:batch], level=1), TOLERANCE[quantization])


def test_chosen_levels(network, tmp_path, monkeypatch):
    """In the given order; a level may be a ``SliceLevel``; files of other levels stay."""
    monkeypatch.setattr(networks, "convert", lambda network, *_: network.name.encode())
    monkeypatch.setattr(tflite, "described", lambda data, about: data)
    monkeypatch.setattr(networks, "check", lambda *_: None)
    (tmp_path / "level_1.tflite").write_bytes(b"old")
    paths = to_tflite(network, str(tmp_path), levels=(2, network.levels[0]))
    assert paths == [tmp_path / "level_2.tflite", tmp_path / "level_0.tflite"]
    assert {p.name: p.read_bytes()[-6:] for p in tmp_path.iterdir()} == {
        "level_0.tflite": b"level0",
        "level_1.tflite": b"old",
        "level_2.tflite": b"level2",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": [0, 3]}, "level must be an integer in"),
        ({"levels": [-1]}, "level must be an integer in"),
        ({"levels": [1.0]}, "level must be an integer in"),
        ({"levels": [True]}, "level must be an integer in"),
        ({"levels": ["0"]}, "level must be an integer in"),
        ({"levels": "0"}, "levels must be 'all' or a list of integers, received '0'"),
        ({"levels": 0}, "levels must be"),
        ({"levels": None}, "levels must be"),
        ({"levels": [tf.constant(0)]}, "level"),
        ({"quantization": "int7"}, "quantization must be one of .* received 'int7'"),
        ({"quantization": ["float16"]}, "quantization must be one of"),
        ({"part": "half"}, "part must be one of .* received 'half'"),
        ({"part": None}, "part must be one of"),
        ({"part": "route", "levels": [0]}, "levels must be 'all' for part='route'"),
    ],
    ids=str,
)
def test_bad_arguments(network, tmp_path, arguments, message):
    directory = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        to_tflite(network, directory, **arguments)
    assert not directory.exists()


def test_the_directory_is_a_file(network, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="directory must be a directory, received the file"):
        to_tflite(network, tmp_path / "file")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def corrupt(network):
    """A plain twin with one weight changed."""
    plain = subnet(network, 1)
    kernel, bias = plain.layers[-1].get_weights()
    plain.layers[-1].set_weights([kernel, bias + np.array([0, 0.05, 0])])
    return plain


@pytest.fixture(scope="module")
def corrupted(network):
    return litert.convert(corrupt(network))


@pytest.mark.parametrize("there", [False, True])
def test_a_wrong_conversion_is_not_written(network, corrupted, tmp_path, monkeypatch, there):
    monkeypatch.setattr(networks, "convert", lambda *_, **__: corrupted)
    if there:
        (tmp_path / "level_1.tflite").write_bytes(b"old")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match=r"level1: LiteRT differs from Keras by 0\.05, allowed"):
        to_tflite(network, tmp_path, levels=[1])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_not_finite_logits_are_not_written(network, tmp_path, monkeypatch):
    plain = corrupt(network)
    plain.layers[-1].set_weights([w * np.nan for w in plain.layers[-1].get_weights()])
    data = litert.convert(plain)
    monkeypatch.setattr(networks, "convert", lambda *_, **__: data)
    with pytest.raises(RuntimeError, match="differs from Keras by nan"):
        to_tflite(network, tmp_path / "out", levels=[1])
    assert not list(tmp_path.rglob("*.tflite"))


def test_custom_operators_are_refused(network, tmp_path, monkeypatch):
    function = tf.function(lambda x: tf.raw_ops.Betainc(a=x, b=x, x=x), input_signature=[tf.TensorSpec((1, 3))])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module())
    converter.allow_custom_ops = True
    data = converter.convert()
    assert flatbuffer.operators(data) == ["CUSTOM:Betainc"]
    monkeypatch.setattr(networks, "convert", lambda *_, **__: data)
    with pytest.raises(RuntimeError, match=r"LiteRT does not run alone: \['CUSTOM:Betainc'\]"):
        to_tflite(network, tmp_path, levels=[0])
    assert not list(tmp_path.iterdir())


def test_without_litert(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.schema_py_generated", None)
    monkeypatch.setattr(networks, "convert", lambda *_, **__: b"")
    with pytest.raises(ImportError, match=r"pip install 'ds_keras\[runtime\]'"):
        to_tflite(network, tmp_path, levels=[0])
    assert not list(tmp_path.iterdir())
