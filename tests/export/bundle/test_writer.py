import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import shared
from damaged import parts_of
from helpers import close, images, pair

from ds_keras.export import subnet, to_bundle, to_tflite
from ds_keras.export.bundle import writer
from ds_keras.export.subnet import Plain, assemble
from ds_keras.export.tflite import template as pack
from ds_keras.runtime import Bundle, Session

X = images(16)


@pytest.fixture(scope="module")
def network():
    """Three levels, random weights and statistics, a budget table: do not change it."""
    return shared.budgeted()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Bundles of two networks, in single and in half precision: do not change them."""
    return {kind: shared.bundle(name, tmp_path_factory) for kind, name in ((None, "budgeted"), ("float16", "half"))}


@pytest.fixture(scope="module", params=[None, "float16"], ids=str)
def written(request, network, both):
    """A precision, the bundle in it, and the network of that bundle."""
    return request.param, both[request.param], network if request.param is None else pair(name="half")


@pytest.fixture
def quick(both, monkeypatch):
    """What is written is that of the bundle in single precision, and not made again."""
    parts = parts_of(both[None])
    monkeypatch.setattr(writer, "_parts", lambda *_: parts)


def test_the_parts(written):
    quantization, path, network = written
    manifest = json.loads((path / "bundle.json").read_text())
    assert {file.name for file in path.iterdir()} == {"bundle.json", *manifest["parts"]}
    assert {"kernels.bin", "route.zip", *(f"level_{k}.zip" for k in range(len(network.levels)))} == set(
        manifest["parts"]
    )
    assert manifest["madds"]["body"] == [part.body for part in network.costs]
    assert manifest["policy"]["budget_table"] == network.budget_table
    size = 2 if quantization else 4
    kernels = sum(np.prod(shape) for _, shape in manifest["kernels"]["index"].values())
    assert (path / "kernels.bin").stat().st_size - kernels * size < 64 * len(manifest["kernels"]["index"])
    assert manifest["kernels"]["dtype"] == (quantization or "float32")


def test_the_files_are_byte_equal_to_those_of_to_tflite(written, tmp_path):
    quantization, path, network = written
    bundle = Bundle(path)
    parts = {None: {"route": "all", "entry": [1], "body": [2]}, "float16": {"body": [1]}}[quantization]
    for part, levels in parts.items():
        (file,) = to_tflite(network, tmp_path, levels, quantization, part=part)
        assert bundle.file(file.stem) == file.read_bytes()


def test_it_runs_as_keras(written):
    quantization, path, network = written
    session = Session(path)
    for level in range(len(network.levels)):
        expected = subnet(network, level)(X)
        close(session.run(X, level=level).logits, expected, 2e-2 if quantization else 1e-4)


@pytest.mark.usefixtures("quick")
def test_the_single_file_holds_the_same_parts(network, both, tmp_path):
    file, path = to_bundle(network, tmp_path / "one.dsbundle"), both[None]
    with zipfile.ZipFile(file) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == parts_of(path)
    assert Bundle(file).id == Bundle(path).id
    assert Bundle(file).file("body_1") == Bundle(path).file("body_1")


@pytest.mark.usefixtures("quick")
def test_an_older_bundle_is_replaced_and_nothing_else(network, both, tmp_path):
    path = shutil.copytree(both["float16"], tmp_path / "bundle")
    to_bundle(network, path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        file.name: file.read_bytes() for file in both[None].iterdir()
    }
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("index", ["", "[]", '{"name": "my-web-app"}', None])
def test_files_of_ones_own_are_never_removed(network, both, tmp_path, index):
    """Beside a bundle's parts, and beside a ``bundle.json`` of something else."""
    path = shutil.copytree(both[None], tmp_path / "bundle")
    if index is not None:
        (path / "bundle.json").write_text(index)
    (path / "thesis.txt").write_text("x")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(ValueError, match="which holds other files: .*"):
        to_bundle(network, path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.usefixtures("quick")
def test_a_move_that_fails_brings_the_older_bundle_back(network, both, tmp_path, monkeypatch):
    path = shutil.copytree(both[None], tmp_path / "bundle")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    replace = os.replace

    def fails(source, target):
        if os.path.basename(source) == "new":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(KeyboardInterrupt):
        to_bundle(network, path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_equal_kernels(tmp_path):
    """All zero: the converter may join their constants, and a plan names each kernel once."""
    model = pair()
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(np.zeros(variable.shape))
    session = Session(to_bundle(model, tmp_path / "bundle"))
    for level in range(2):
        close(session.run(X, level=level).logits, model(X, level=level))


def test_a_failure_leaves_the_older_bundle(network, both, tmp_path, monkeypatch):
    payload = writer.payload
    path = shutil.copytree(both[None], tmp_path / "bundle")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(writer, "payload", lambda *args: {key: values + 1 for key, values in payload(*args).items()})
        with pytest.raises(RuntimeError, match="LiteRT differs from Keras by"):
            to_bundle(pair(), path)
    monkeypatch.setattr(writer, "_parts", lambda *_: before)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        to_bundle(network, path)
    monkeypatch.undo()
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before
    assert [file.name for file in tmp_path.iterdir()] == ["bundle"]


def test_bad_arguments(network, tmp_path):
    with pytest.raises(
        ValueError, match=r"quantization must be one of \(None, 'float16', 'dynamic_int8', 'int8'\), received 'int4'"
    ):
        to_bundle(network, tmp_path / "x", quantization="int4")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="which holds other files"):
        to_bundle(network, tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="path must be a directory, or a file that ends in '.dsbundle'"):
        to_bundle(network, tmp_path / "file")
    (tmp_path / "notes.dsbundle").write_text("x")
    with pytest.raises(ValueError, match="path must be a new file or a bundle, received '.*', which is another file"):
        to_bundle(network, tmp_path / "notes.dsbundle")
    assert (tmp_path / "notes.dsbundle").read_text() == "x"
    assert (tmp_path / "file").read_text() == "x" and len(list((tmp_path / "mine").iterdir())) == 1


def test_the_templates_hold_no_kernels(written):
    """All but the smallest kernels, which are cheaper where they are, come from the one payload."""
    quantization, path, network = written
    bundle, size = Bundle(path), 2 if quantization else 4
    for name in bundle.files:
        part, _, level = name.partition("_")
        visitor = Plain(int(level or 0), fold=True)
        assemble(network, visitor, part)
        large = {k.key for k in visitor.kernels if size * np.prod(k.sizes) >= pack.SMALLEST}
        assert {copy.kernel for copy in bundle.template(name).copies} == large
    assert large  # of the largest body
