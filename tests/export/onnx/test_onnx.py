"""ONNX files: run here by a session of ONNX Runtime as a user opens it, and compared with the supernet."""

import json
import sys
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from helpers import close, images, nano, nano_resnet, nano_vit, pair, spread_gate

from ds_keras.benchmarks import onnx as benchmark
from ds_keras.core import cost
from ds_keras.export import route_network, subnet, to_onnx
from ds_keras.export.onnx import graph as onnx_graph
from ds_keras.export.onnx import writer as exporter
from ds_keras.export.onnx.convert import convert

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'ds_keras[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'ds_keras[onnx]'")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'ds_keras[onnx]'")

MAKE = {
    "mobilenet": lambda: nano(gate_hidden=4),
    "resnet": nano_resnet,
    "vit": lambda: nano_vit(depth=2, shared_depth=0, stem=(), class_token=True, attention=False),
}
VARIANTS = {
    "symmetric": lambda: nano(padding="symmetric", residual=True, attention=False),
    "stem": lambda: nano_vit(depth=2, shared_depth=0),
}
X = images(12)


@pytest.fixture(scope="module", autouse=True)
def share_small_kernels():
    """The kernels of these networks are smaller than what is worth sharing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graph, "SMALLEST", 64)
        yield


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in MAKE]


@pytest.fixture(scope="module", params=["small", *SLOW])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(request, name):
    """Random weights and statistics, images of different levels: do not change it."""
    if name == "small":
        return request.getfixturevalue("small")
    model = MAKE[name]()
    spread_gate(model)
    model.gate_shift.assign([0.3])
    return model


@pytest.fixture(scope="module")
def levels(request, name, network, tmp_path_factory):
    """The file with the level as an input."""
    if name == "small":
        return request.getfixturevalue("small_levels")
    return to_onnx(network, tmp_path_factory.mktemp("onnx") / "levels.onnx")


@pytest.fixture(scope="module")
def small():
    """The quickest network to convert, with two levels: do not change it."""
    model = pair(labels=["a", "b", "c"])
    spread_gate(model)
    model.gate_shift.assign([0.3])
    return model


@pytest.fixture(scope="module")
def small_levels(small, tmp_path_factory):
    """Its file with the level as an input."""
    return to_onnx(small, tmp_path_factory.mktemp("onnx") / "small.onnx", licence="Apache-2.0")


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def interface(values):
    return {value.name: (value.type, value.shape) for value in values}


def metadata(path):
    return session(path).get_modelmeta().custom_metadata_map


def differ(every):
    """A file of another level would not pass."""
    for a, b in combinations(every, 2):
        assert np.abs(a - b).max() > 5e-4 * max(1, np.abs(b).max())


def test_the_level_input(network, levels, capfd):
    run, every = session(levels), [np.asarray(network(X, level=k)) for k in range(len(network.levels))]
    assert interface(run.get_inputs()) == {
        "images": ("tensor(float)", ["batch", 8, 8, 1]),
        "level": ("tensor(int32)", []),
    }
    assert interface(run.get_outputs()) == {"logits": ("tensor(float)", ["batch", 3])}
    differ(every)
    for level, expected in enumerate(every):
        for batch in (1, 3, 12):
            found = run.run(None, {"images": X[:batch], "level": np.asarray(level, "int32")})[0]
            close(found, expected[:batch])
    for level, nearest in ((-1, 0), (-(2**31), 0), (len(every), -1), (2**31 - 1, -1)):  # clamped
        close(run.run(None, {"images": X, "level": np.asarray(level, "int32")})[0], every[nearest])
    assert capfd.readouterr() == ("", "")  # a session with default settings has nothing to warn of
    onnx.checker.check_model(str(levels), full_check=True)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_level_input_of_variants(variant, tmp_path):
    model = VARIANTS[variant]()
    run = session(to_onnx(model, tmp_path / "levels.onnx"))
    for level in range(3):
        close(run.run(None, {"images": X, "level": np.asarray(level, "int32")})[0], model(X, level=level))


@pytest.mark.parametrize("name", ["vit", *SLOW[:-1]], indirect=True)
@pytest.mark.parametrize("level", [1, *(pytest.param(k, marks=pytest.mark.slow) for k in (0, 2))])
def test_a_level(network, level, tmp_path):
    path = to_onnx(network, str(tmp_path / "new" / "level.onnx"), network.levels[level] if level == 1 else level)
    run = session(path)
    assert interface(run.get_inputs()) == {"images": ("tensor(float)", ["batch", 8, 8, 1])}
    assert interface(run.get_outputs()) == {"logits": ("tensor(float)", ["batch", 3])}
    for batch in (1, 3):
        close(run.run(None, {"images": X[:batch]})[0], network(X[:batch], level=level))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import if not opset.domain] == [("", 17)]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    found = metadata(path)
    assert found["kind"] == "one level" and not {"licence", "gate_shift"} & set(found)
    assert [row["level"] for row in json.loads(found["levels"])] == [level]
    assert [file.name for file in path.parent.iterdir()] == ["level.onnx"]


def test_the_gate(network, tmp_path):
    path = to_onnx(network, tmp_path / "gate.onnx", level="gate")
    run = session(path)
    assert interface(run.get_inputs()) == {"images": ("tensor(float)", [1, 8, 8, 1])}
    assert interface(run.get_outputs()) == {"logits": ("tensor(float)", [1, 3]), "level": ("tensor(int64)", [1])}
    chosen = np.asarray(network.route(X)).argmax(-1)
    assert len(set(chosen)) > 1
    for x, level in zip(X, chosen, strict=True):
        logits, found = run.run(["logits", "level"], {"images": x[None]})
        assert found == [level]
        close(logits, network(x[None], level=int(level)))
    found = metadata(path)
    assert found["kind"] == "gate" and float(found["gate_shift"]) == pytest.approx(0.3)
    gate = network.costs[0].gate
    levels = range(len(network.levels))
    assert [row["madds"] for row in json.loads(found["levels"])] == [cost.madds(network, k) + gate for k in levels]


def test_ties_go_to_the_smaller_level(tmp_path):
    model = pair()
    head = model.gate_layer().logits
    head.kernel.assign(np.zeros(head.kernel.shape))
    run = session(to_onnx(model, tmp_path / "gate.onnx", level="gate"))
    assert run.run(["level"], {"images": X[:1]})[0] == [0]


def test_the_metadata(small, small_levels):
    model, found = small, metadata(small_levels)
    rows = json.loads(found.pop("levels"))
    assert rows == [
        {"level": k, "ratios": dict(model.levels[k].ratios), "madds": cost.madds(model, k)} for k in range(2)
    ]
    assert found == {
        "format": "ds_keras",
        "format_version": "1",
        "kind": "level input",
        "name": model.name,
        "classes": "3",
        "input": "float32 (batch, 8, 8, 1) in [0, 255]; the graph normalises",
        "labels": '["a", "b", "c"]',
        "licence": "Apache-2.0",
    }


def graphs(graph):
    """A graph and those of its conditionals."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def test_kernels_are_stored_once(network, levels):
    """All but small ones lie in the outer graph, as wide as the largest level; no branch holds another copy."""
    outer, *inner = graphs(onnx.load(levels).graph)
    assert len(inner) == 2 * (len(network.levels) - 1)  # a conditional with two branches for each level but the last
    shapes = {value.name: sorted(value.dims) for value in outer.initializer}
    kernels = onnx_graph.folded_body(network, len(network.levels) - 1)[1]
    large = [kernel for kernel in kernels if 4 * np.prod(kernel.sizes) >= onnx_graph.SMALLEST]
    assert large and all(shapes[kernel.key] == sorted(kernel.sizes) for kernel in large)
    for graph in inner:
        constants = [[size for size in value.dims if size > 1] for value in graph.initializer]
        assert all(len(sizes) < 2 or 4 * np.prod(sizes) < onnx_graph.SMALLEST for sizes in constants)
    counts = Counter(value.name for graph in (outer, *inner) for value in graph.initializer)
    assert set(counts.values()) == {1}


def test_equal_kernels(tmp_path):
    """All zero: kernels that are recognised by their bytes are then not told apart."""
    model = pair()
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(np.zeros(variable.shape))
    run = session(to_onnx(model, tmp_path / "levels.onnx"))
    for level in range(2):
        close(run.run(None, {"images": X, "level": np.asarray(level, "int32")})[0], model(X, level=level))


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (2, r"level must be an integer in \[0, 2\), received 2"),
        (-1, "level must be an integer in .* received -1"),
        (True, "level must be an integer in .* received True"),
        (1.0, "level must be an integer in .* received 1.0"),
        ("1", r"level must be None, 'gate' or an integer in \[0, 2\), received '1'"),
        ([0], "level must be"),
    ],
    ids=str,
)
def test_bad_levels(small, tmp_path, level, message):
    with pytest.raises(ValueError, match=message):
        to_onnx(small, tmp_path / "new" / "x.onnx", level)
    assert not list(tmp_path.iterdir())


def test_the_path_is_a_directory(small, tmp_path):
    with pytest.raises(ValueError, match="path must be a file, received the directory"):
        to_onnx(small, tmp_path, 0)


@pytest.mark.parametrize(
    ("level", "there"), [(None, True), pytest.param("gate", True, marks=pytest.mark.slow), (1, False)], ids=str
)
def test_a_wrong_file_is_not_written(small, level, there, tmp_path, monkeypatch):
    """The classifier's bias of the last level that the file holds is moved."""

    def corrupt(make):
        def made(*arguments, **given):
            model = make(*arguments, **given)
            *_, last = graphs(model.graph)
            (bias,) = (v for v in last.initializer if list(v.dims) == [3])
            bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.05), bias.name))
            return model

        return made

    for function in ("convert", "every_level"):
        monkeypatch.setattr(exporter, function, corrupt(getattr(exporter, function)))
    path = tmp_path / "x.onnx"
    if there:
        path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match=r"ONNX Runtime differs from Keras by 0\.05, allowed"):
        to_onnx(small, path, level)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"] * there


def test_a_file_that_does_not_load_is_not_written(small, tmp_path, monkeypatch):
    def broken(network):
        model = convert(network)
        model.graph.node[0].op_type = "Erfc"
        return model

    monkeypatch.setattr(exporter, "convert", broken)
    with pytest.raises(RuntimeError, match="ONNX Runtime refuses the converted file: .*Erfc"):
        to_onnx(small, tmp_path / "x.onnx", 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["tf2onnx", "onnx", "onnxruntime"])
def test_a_missing_package(small, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs {package}: pip install 'ds_keras\[onnx\]'"):
        to_onnx(small, tmp_path / "x.onnx", 0)
    assert not list(tmp_path.iterdir())


def test_nothing_is_said(small, tmp_path, caplog, capfd):
    to_onnx(small, tmp_path / "x.onnx", 0)
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_constants_are_not_inputs():
    """The positions of many tokens are a large constant."""
    made = convert(route_network(nano_vit(depth=2, shared_depth=0, input_shape=(32, 32, 1))))
    assert [value.name for value in made.graph.input] == ["images"]


@pytest.mark.slow
def test_benchmark(small, small_levels, tmp_path):
    rows = benchmark.onnx_levels(small, small_levels, X[:2], rounds=3)
    assert [(row["what"], row["level"]) for row in rows] == [
        (what, level) for level in range(2) for what in ("level input", "ONNX Runtime")
    ]
    for row in rows:
        assert all(np.isfinite(row[name]) and row[name] > 0 for name in ("a_ms", "b_ms", "ratio", "ratio_p90"))
    path = tmp_path / "other.onnx"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="must be an ONNX file with the level of .* received 'no file of ds_keras'"):
        benchmark.onnx_levels(small, path, X)
    path.write_bytes(convert(subnet(small, 0)).SerializeToString())
    with pytest.raises(ValueError, match="must be an ONNX file with the level of"):
        benchmark.onnx_levels(small, path, X)
