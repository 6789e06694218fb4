"""What LiteRT must not see though its hashes match: graphs changed by hand, and at random."""

import os
import resource
import shutil
import zipfile

import numpy as np
import pytest
from damaged import as_directory, damaged_graphs, with_graph
from helpers import SUPERNETS, images
from programs import SERVER

from ds_keras import zoo
from ds_keras.export.flatbuffer import repacked, unpacked
from ds_keras.runtime import Bundle, Session
from ds_keras.runtime.graph_check import check_graph

X = images(2)


@pytest.fixture(scope="module")
def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def entry(path):
    return Bundle(path).file("entry_1")


def operator(model, name):
    """The first operator of a kind."""
    from ai_edge_litert import schema_py_generated as schema

    code = getattr(schema.BuiltinOperator, name)
    graph = model.subgraphs[0]
    return next(each for each in graph.operators if model.operatorCodes[each.opcodeIndex].builtinCode == code)


def constant(model):
    """The first constant of more than one byte."""
    held = (model.buffers[tensor.buffer] for tensor in model.subgraphs[0].tensors)
    return next(buffer for buffer in held if buffer.data is not None and len(buffer.data) > 1)


def index(change):
    """Changes the inputs of the first convolution."""

    def apply(model):
        first = operator(model, "CONV_2D")
        first.inputs = np.array(change(first.inputs.tolist(), len(model.subgraphs[0].tensors)), "int32")

    return apply


def shape(value):
    def apply(model):
        graph = model.subgraphs[0]
        graph.tensors[graph.operators[0].outputs[0]].shape = np.array(value, "int32")

    return apply


def option(name, **values):
    def apply(model):
        vars(operator(model, name).builtinOptions).update(values)

    return apply


def graph(**values):
    def apply(model):
        vars(model.subgraphs[0]).update({key: np.array(value, "int32") for key, value in values.items()})

    return apply


def scales(model):
    kernel = model.subgraphs[0].tensors[operator(model, "CONV_2D").inputs[1]]
    kernel.quantization.scale, kernel.quantization.zeroPoint = np.ones(1000, "float32"), np.zeros(1000, "int64")


def custom(model):
    code = model.operatorCodes[operator(model, "CONV_2D").opcodeIndex]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"mine"


def no_options(model):
    first = operator(model, "CONV_2D")
    first.builtinOptions, first.builtinOptionsType = None, 0


def constant_input(model):
    graph = model.subgraphs[0]
    graph.inputs = operator(model, "CONV_2D").inputs[1:2]
    model.signatureDefs[0].inputs[0].tensorIndex = int(graph.inputs[0])


WRONG = {
    "reads what nothing makes": [
        index(lambda found, count: [count - 1, *found[1:]]),
    ],
    "tensors, and uses": [
        index(lambda found, count: [count, *found[1:]]),
        index(lambda found, count: [-1, *found[1:]]),
        index(lambda found, count: [found[0], -1, found[2]]),
        index(lambda found, count: [-5, *found[1:]]),
        graph(inputs=[-1]),
        graph(outputs=[1 << 30, 0]),
    ],
    "makes what is there": [
        lambda model: setattr(operator(model, "CONV_2D"), "outputs", operator(model, "CONV_2D").inputs[1:2]),
    ],
    "its tensors take more than": [shape([1, 1 << 20, 1 << 10, 1]), shape([1 << 30] * 20)],
    "has shape": [shape([1, -1, 1, 1])],
    r"of \d+ bytes has": [lambda model: setattr(constant(model), "data", constant(model).data[:-1])],
    "has buffer": [lambda model: setattr(model.subgraphs[0].tensors[0], "buffer", 1 << 20)],
    "has type": [lambda model: setattr(model.subgraphs[0].tensors[0], "type", 5)],
    "is no plain tensor": [lambda model: setattr(model.subgraphs[0].tensors[0], "isVariable", True)],
    "outside the file": [lambda model: vars(constant(model)).update(data=None, offset=1 << 40, size=64)],
    "has 1000 scales": [scales],
    "is CUSTOM": [custom],
    "has no Conv2DOptions": [no_options],
    "has a stride of 0": [
        option("CONV_2D", strideW=0),
        option("CONV_2D", dilationHFactor=-1),
        option("DEPTHWISE_CONV_2D", strideH=0),
    ],
    "one graph": [lambda model: model.subgraphs.append(model.subgraphs[0])],
    "one input": [graph(outputs=[])],
    "names other tensors": [lambda model: setattr(model.signatureDefs[0].outputs[0], "tensorIndex", 0)],
    "its input is a constant": [constant_input],
}


@pytest.mark.parametrize(("message", "change"), [(key, change) for key, found in WRONG.items() for change in found])
def test_what_is_refused(entry, message, change):
    model, behind = unpacked(entry), bytes(len(entry))
    check_graph(repacked(model) + behind)
    change(model)
    with pytest.raises(ValueError, match=f"its graph is damaged: .*{message}"):
        check_graph(repacked(model) + behind)


@pytest.mark.parametrize("data", [b"", b"TFL3" * 3, b"\0" * 100, b"\xff" * 100, b"\0\0\0\0TFL3" + b"\xff" * 64])
def test_what_is_no_graph(data):
    with pytest.raises(ValueError, match="its graph is damaged"):
        check_graph(data)


@pytest.mark.parametrize("int8", [False, True])
def test_what_is_shipped_passes(int8):
    for name in SUPERNETS:
        bundle = Bundle(zoo.bundle(name, int8=int8))
        for file in bundle.files:
            check_graph(bundle.file(file))


def test_the_session_names_the_file(parts, tmp_path):
    as_directory(tmp_path / "bundle", with_graph(parts, "entry_1", lambda data: data[:4] + b"none" + data[8:]))
    session = Session(tmp_path / "bundle")
    with pytest.raises(ValueError, match=r"bundle: entry_1 is damaged, it cannot be opened: its graph is damaged"):
        session.run(X, level=1)


def run_damaged(parts, folder, seed, count):
    """Runs damaged bundles; ends with the status 1 where another error than the documented one is raised."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for content in damaged_graphs(parts, seed, count):
        as_directory(folder, content)
        try:
            session = Session(folder)
            for policy in (0, 1, 2, "gate", "cascade"):
                session.run(X, policy=policy)
        except ValueError as error:
            assert str(folder) in str(error), error
            refused += 1
        shutil.rmtree(folder)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    os._exit(0 if refused > count / 4 and more < 3000 else 2)  # megabytes


@pytest.mark.parametrize("count", [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_graphs_end_no_process(parts, tmp_path, count):
    process = SERVER.Process(target=run_damaged, args=(parts, tmp_path / "bundle", count, count))
    process.start()
    process.join()
    assert process.exitcode == 0
