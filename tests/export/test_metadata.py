import io
import json
import struct
import zipfile

import flatbuffers
import numpy as np
import pytest
import shared
from ai_edge_litert.interpreter import Interpreter
from helpers import close, pair

from ds_keras import __version__, export
from ds_keras.export.flatbuffer import unpacked
from ds_keras.export.tflite.convert import run_tflite
from ds_keras.runtime import Bundle, Session


class Table:
    """Reads a flatbuffer by positions alone, without a schema or our code."""

    def __init__(self, data, position):
        self.table = flatbuffers.table.Table(data, position)

    @classmethod
    def root(cls, data):
        assert bytes(data[4:8]) == b"M001"
        return cls(data, struct.unpack_from("<I", data)[0])

    def _at(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        return offset and self.table.Pos + offset

    def text(self, slot):
        return self.table.String(self._at(slot)).decode()

    def number(self, slot, form):
        return struct.unpack_from(form, self.table.Bytes, self._at(slot))[0]

    def child(self, slot):
        return Table(self.table.Bytes, self.table.Indirect(self._at(slot)))

    def floats(self, slot):
        start = self.table.Vector(self._at(slot) - self.table.Pos)
        count = self.table.VectorLen(self._at(slot) - self.table.Pos)
        return list(struct.unpack_from(f"<{count}f", self.table.Bytes, start))

    def children(self, slot):
        if not self._at(slot):
            return []
        start = self.table.Vector(self._at(slot) - self.table.Pos)
        count = self.table.VectorLen(self._at(slot) - self.table.Pos)
        return [Table(self.table.Bytes, self.table.Indirect(start + 4 * i)) for i in range(count)]


def entries(data):
    """The metadata entries of a file: name -> bytes."""
    graph = unpacked(data)
    return {row.name.decode(): np.asarray(graph.buffers[row.buffer].data, np.uint8).tobytes() for row in graph.metadata}


def labels_in(data):
    """The labels as a reader finds them: the archive's own offsets count from the start of the file."""
    at = struct.unpack_from("<I", data, data.rindex(b"PK\x05\x06") + 16)[0]
    assert data[at : at + 4] == b"PK\x01\x02"
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (info,) = archive.infolist()
        assert info.filename == "labels.txt" and info.compress_type == zipfile.ZIP_STORED  # MediaPipe asks for it
        return archive.read("labels.txt").decode().splitlines()


@pytest.fixture(scope="module")
def model():
    return shared.labelled()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return shared.bundle("labelled", tmp_path_factory)


@pytest.fixture(scope="module")
def files(model, bundle, tmp_path_factory):
    """The bytes of each part's file, level 1: ``to_tflite`` writes those of a bundle (tests/export/bundle)."""
    (whole,) = export.to_tflite(model, tmp_path_factory.mktemp("files"), [1], licence="CC0-1.0")
    parts = {"entry": "entry_1", "body": "body_1", "route": "route"}
    return {"whole": whole.read_bytes(), **{part: Bundle(bundle).file(name) for part, name in parts.items()}}


@pytest.mark.parametrize("part", ["whole", "entry", "body", "route"])
def test_the_standard_table(model, files, part):
    root = Table.root(entries(files[part])["TFLITE_METADATA"])
    assert root.text(0) == f"small {part}" + ("" if part == "route" else " level 1")
    assert "level 1 of 0..2" in root.text(1) or part == "route"
    assert root.text(2) == f"ds_keras {__version__}" and root.text(5) == "CC0-1.0" and root.text(7) == "1.0.0"
    (graph,) = root.children(3)
    (images,), outputs = graph.children(2), graph.children(3)
    sizes = {"features": None, "gate": 3, "logits": 3}  # three levels, three classes
    names = {"entry": {"features", "logits"}, "route": {"features", "gate"}}.get(part, {"logits"})
    found = [output.text(0) for output in outputs]
    assert set(found) == names
    for name, detail in zip(found, Interpreter(model_content=files[part]).get_output_details(), strict=True):
        assert list(detail["shape"]) == [1, sizes[name]] or (name == "features" and len(detail["shape"]) == 4)
    if part == "body":
        assert images.text(0) == "features" and not images.children(4)
    else:
        assert images.text(0) == "images"
        content, (unit,) = images.child(3), images.children(4)
        assert content.number(0, "<B") == 2  # image properties
        assert content.child(1).number(0, "<B") == 2  # grey
        assert [content.child(1).child(1).number(slot, "<I") for slot in (0, 1)] == [8, 8]
        assert unit.number(0, "<B") == 1  # normalisation
        assert unit.child(1).floats(0) == [0] and unit.child(1).floats(1) == [1]
        assert images.child(5).floats(0) == [255] and images.child(5).floats(1) == [0]
    if part != "route":
        (file,) = outputs[found.index("logits")].children(6)
        assert file.text(0) == "labels.txt" and file.number(2, "<B") == 2  # labels of an axis
        assert labels_in(files[part]) == ["cat", "wild dog", "été"]


@pytest.mark.parametrize("part", ["whole", "entry", "body", "route"])
def test_the_level_for_programs(model, files, part):
    own = json.loads(entries(files[part])["ds_keras"])
    start, gate, body = model.costs[1]
    madds = {"whole": start + body, "entry": start + body, "body": body, "route": start + gate}[part]
    assert own == {"part": part, "level": None if part == "route" else 1, "levels": 3, "madds": madds}


def test_files_run_and_bundles_hold_the_same(model, files, bundle, tmp_path):
    x = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype("float32")
    close(run_tflite(files["whole"], x)["logits"], model(x, level=1))
    session = Session(bundle, cache_dir=tmp_path / "cache")
    for policy, part in (("gate", "body"), ("random", "entry")):
        (path,) = (path for path in session.materialize(policy) if path.name == f"{part}_1.tflite")
        assert path.read_bytes() == files[part]
    assert session.manifest["licence"] == "CC0-1.0" and session.manifest["labels"] == model.labels


@pytest.mark.parametrize("licence", [3, b"MIT"])
def test_a_licence_that_is_no_text(model, tmp_path, licence):
    for write in (export.to_tflite, export.to_bundle, export.to_onnx):
        with pytest.raises(ValueError, match=f"licence must be a string or None, received {licence!r}"):
            write(model, tmp_path / "file", licence=licence)
    assert not list(tmp_path.iterdir())


def test_without_labels_or_licence(tmp_path):
    (path,) = export.to_tflite(pair(), tmp_path, [0])
    root = Table.root(entries(path.read_bytes())["TFLITE_METADATA"])
    assert root.text(5) == "not stated"
    assert not root.children(3)[0].children(3)[0].children(6)
    assert not zipfile.is_zipfile(path)
