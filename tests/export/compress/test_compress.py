import contextlib
import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images, nano, nano_resnet, nano_vit, pair, snapshot, tiny, without_tracing

from ds_keras.export import compress, flatbuffer, subnet
from ds_keras.export.compress import libraries, tflite

if any(importlib.util.find_spec(name) is None for name in ("tensorflow_model_optimization", "tf_keras")):
    pytest.skip("needs tfmot: pip install 'ds_keras[compress]'", allow_module_level=True)

X = np.round(images(32))
LABELS = np.arange(32) % 3
SPARSITY, CLUSTERS = 0.5, 8
SMALL = {"epochs": 2, "sparsity": SPARSITY, "clusters": CLUSTERS, "verbose": 0}


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(16)


@pytest.fixture(scope="module")
def network():
    """Squeeze-and-excitation, two levels: do not change it."""
    return pair(activation="relu", residual=True, labels=["a", "b", "c"])


@pytest.fixture(scope="module")
def files(network):
    """Twin and float file of the smallest and the largest level."""
    twins = [compress.legacy(network, level) for level in (0, 1)]
    return [(twin, tflite.convert(twin, False)) for twin in twins]


def slow(*values, name):
    return pytest.param(*values, id=name, marks=pytest.mark.slow)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("quantize",), id="quantize"),
        pytest.param(("cluster", "prune"), id="cluster+prune"),
        slow(("quantize", "prune", "cluster"), name="quantize+prune+cluster"),
    ],
)
def compressed(request, network):
    """One run of each set of methods, which the tests of its properties share; the longest one in a graph."""
    with without_tracing() if len(request.param) < 3 else contextlib.nullcontext():
        return request.param, compress.compress(network, 1, dataset(), request.param, **SMALL)


@pytest.mark.parametrize(
    ("make", "level"),
    [
        pytest.param(lambda network: network, 0, id="mobilenet"),
        slow(lambda _: tiny(), 2, name="more stages"),
        slow(lambda _: nano_resnet(padding="symmetric", stem_pool=True), 2, name="resnet"),
        slow(lambda _: nano_vit(), 2, name="vit"),
    ],
)
def test_the_twin_equals_the_level(network, make, level):
    model = make(network)
    plain, twin = subnet(model, level), compress.legacy(model, level)
    assert type(twin).__module__.startswith("tf_keras") and twin.name == plain.name
    close(twin(X[:4], training=False), plain(X[:4], training=False), tolerance=1e-5)
    assert sum(w.shape.num_elements() for w in twin.weights) == plain.count_params()


def test_a_wrong_twin_is_refused(network, monkeypatch):
    monkeypatch.setattr("ds_keras.export.compress.twin.TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match="level0: tf_keras differs from Keras by"):
        compress.legacy(network, 0)


def test_sparsity_and_clusters(compressed):
    from ds_keras.export.compress.methods import kernels

    methods, result = compressed
    found = kernels(result)
    assert {"stem", "classifier", "stage1_block1_gate_reduce"} <= set(found)
    if "prune" not in methods:
        assert all(np.count_nonzero(kernel) == kernel.size for kernel in found.values())
        return
    for name, kernel in found.items():
        assert (kernel == 0).mean() >= SPARSITY - 1 / kernel.size, name
        channels = np.moveaxis(kernel, -1, 0) if "quantize" in methods and kernel.ndim == 4 else [kernel]
        assert all(np.unique(channel).size <= CLUSTERS for channel in channels), name


def test_the_file(compressed, network, tmp_path):
    """Runs as the network, one image at a time and resized; the quantised one in integers alone, codes = pixels."""
    methods, result = compressed
    path = compress.to_tflite(result, tmp_path / "new" / "level.tflite", network, 1, "MIT")
    assert sorted(path.parent.iterdir()) == [path]
    data = path.read_bytes()
    says = flatbuffer.unpacked(data).metadata
    assert {"TFLITE_METADATA", "ds_keras"} <= {entry.name.decode() for entry in says} and b"labels.txt" in data
    assert b"MIT" in data and b'"level": 1' in data
    expected = np.asarray(result(X, training=False))
    found = compress.run(data, X)
    details = flatbuffer.litert("interpreter").Interpreter(model_content=data).get_signature_runner("serve")
    (image,), (logits,) = details.get_input_details().values(), details.get_output_details().values()
    if "quantize" not in methods:
        close(found, expected)
        assert image["dtype"] is np.float32
        return
    assert np.abs(found - expected).mean() < 0.03 * max(1, np.abs(expected).max())
    assert image["dtype"] is np.uint8 and image["quantization"] == (1.0, 0) and logits["dtype"] is np.int8
    interpreter = flatbuffer.litert("interpreter").Interpreter(model_content=data)
    types = {tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert types == {np.uint8, np.int8, np.int32}
    assert not [name for name in flatbuffer.operators(data) if name.startswith(("CUSTOM", "VAR"))]


def test_training_moves_the_copy_only(network, compressed):
    result, before = compressed[1], snapshot(network)
    assert result.name.endswith("level1")
    moved = np.abs(np.asarray(result(X, training=False)) - np.asarray(network(X, level=1))).max()
    assert moved > 1e-3
    for path, value in snapshot(network).items():
        np.testing.assert_array_equal(value, before[path])


def test_what_tfmot_cannot_quantize_is_named():
    model = nano_vit()
    with pytest.raises(ValueError, match=r"tfmot cannot quantize layer .*'block1_norm1' \(LayerNormalization\)"):
        compress.compress(model, 0, dataset(), ["quantize"])


@pytest.mark.slow
def test_an_activation_that_tfmot_cannot_quantize_is_named():
    with pytest.raises(ValueError, match=r"'stem_activation' \(Activation elu\)"):
        compress.compress(nano(activation="elu"), 0, dataset(), ["quantize"])


@pytest.mark.slow
def test_a_transformer_is_pruned():
    from ds_keras.export.compress.methods import kernels

    result = compress.compress(nano_vit(), 0, dataset(), ["prune"], sparsity=0.75, verbose=0)
    assert all((kernel == 0).mean() >= 0.75 - 1 / kernel.size for kernel in kernels(result).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level": 2}, "level must be an integer in"),
        ({"methods": []}, "methods must be a list of one or more"),
        ({"methods": "prune"}, "methods must be a list of one or more .* received 'prune'"),
        ({"methods": 5}, "methods must be a list of one or more .* received 5"),
        ({"methods": ["prune", "shrink"]}, "methods must be a list"),
        ({"methods": ["prune", "prune"]}, "methods must name each method once"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, received 0"),
        ({"learning_rate": 0}, "learning_rate must be a positive number, received 0"),
        ({"sparsity": 1.0}, r"sparsity must be a number in \(0, 1\), received 1.0"),
        ({"clusters": 1}, "clusters must be an integer of at least 2"),
        ({"clusters": 2, "methods": ["prune", "cluster"]}, "clusters must be an integer of at least 3"),
        ({"steps_per_epoch": 1}, "steps_per_epoch must be an integer of at least 2, received 1"),
        ({"train": X}, "train must be a tf.data.Dataset of .images, labels., received ndarray"),
        ({"train": dataset().repeat()}, "steps_per_epoch must be given"),
    ],
    ids=str,
)
def test_bad_arguments(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        compress.compress(**{"model": network, "level": 0, "train": dataset(), **arguments})


def test_a_wrong_file_is_not_written(files, tmp_path, monkeypatch):
    (twin, _), (_, other) = files
    monkeypatch.setattr(tflite, "convert", lambda *_: other)
    path = tmp_path / "level.tflite"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="LiteRT differs from Keras"):
        compress.to_tflite(twin, path)
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(path, b"old")]
    with pytest.raises(ValueError, match="path must be a file, received the directory"):
        compress.to_tflite(twin, tmp_path)
    with pytest.raises(ValueError, match="model and level belong together, and licence to them; received level=1"):
        compress.to_tflite(twin, path, level=1)


@pytest.mark.parametrize("value", [None, "0", "1"])
def test_the_environment_is_put_back(value, monkeypatch):
    if value is None:
        monkeypatch.delenv(libraries.VARIABLE, raising=False)
    else:
        monkeypatch.setenv(libraries.VARIABLE, value)
    libraries.libraries()
    assert os.environ.get(libraries.VARIABLE) == value
    assert tf.keras.__version__ == keras.__version__


def test_without_tfmot(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_model_optimization", None)
    with pytest.raises(ImportError, match=r"pip install 'ds_keras\[compress\]'"):
        compress.legacy(network, 0)


def test_compare(files):
    small, large = (data for _, data in files)
    labels = compress.run(small, X).argmax(1)
    rows = compress.compare(small, large, X, labels, rounds=3)
    assert rows["before"]["top1"] == 100 and rows["after"]["top1"] < 100
    assert rows["before"]["bytes"] == len(small) and 0 < rows["after"]["gzipped_bytes"] < len(large)
    assert rows["before"]["ratio"] is None and rows["after"]["ratio"] > 0


CODE = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import tensorflow as tf
from helpers import images, nano
from ds_keras.export import compress, subnet
x, found = np.round(images(8)), {}
def plain():
    return np.asarray(subnet(nano(), 1)(x)).tolist()
def tfmot():
    tf.random.set_seed(0)
    train = tf.data.Dataset.from_tensor_slices((x, np.arange(8) % 3)).batch(4)
    return np.asarray(compress.compress(nano(), 1, train, ["prune"], verbose=0)(x, training=False)).tolist()
for i, step in enumerate(sys.argv[2].split(",")):
    found[step + str(i)] = {"plain": plain, "tfmot": tfmot}[step]()
print(json.dumps({"found": found, "variable": os.environ.get("TF_USE_LEGACY_KERAS"), "keras": tf.keras.__version__}))
"""


@pytest.mark.slow
def test_keras_3_then_tfmot_then_keras_3(tmp_path):
    """In one process, in this order, each gives what it gives alone."""

    def run(steps):
        env = {key: value for key, value in os.environ.items() if key != libraries.VARIABLE}
        command = [sys.executable, "-c", CODE, os.path.dirname(os.path.dirname(__file__)), steps]
        result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
        return json.loads(result.stdout.splitlines()[-1])

    together, tfmot, plain = run("plain,tfmot,plain"), run("tfmot"), run("plain")
    assert together["found"]["plain0"] == together["found"]["plain2"] == plain["found"]["plain0"]
    close(together["found"]["tfmot1"], tfmot["found"]["tfmot0"], tolerance=1e-5)
    for result in (together, tfmot):
        assert result["variable"] is None and result["keras"] == keras.__version__
