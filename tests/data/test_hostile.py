"""Packs and TFRecord sets that lie: one error that names the file and what is wrong, before memory is taken."""

import io
import json
import zipfile
import zlib

import numpy as np
import pytest
import tensorflow as tf
from fuzz import fuzz
from PIL import Image

from ds_keras.data import decode_image, jpeg_pack, lossless_pack, read_tfrecords, verify_tfrecords, write_tfrecords
from ds_keras.data.readers.npz import read_npz


def jpeg():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return np.frombuffer(file.getvalue(), "uint8")


def pack(path, **changes):
    one = jpeg()
    off = np.array([0, len(one), 2 * len(one)])
    arrays = {"classes": np.array(["cat", "dog"])}
    for split in ("train", "test"):
        arrays |= {f"{split}_jpeg": np.tile(one, 2), f"{split}_off": off, f"{split}_y": np.array([0, 1])}
    np.savez(path, **{**arrays, **changes})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_y": np.array([0, 2])}, r"train_y must lie in \[0, 2\), one for each class; train_y\[1\] is 2"),
        ({"train_y": np.array([-1, 1])}, r"train_y\[0\] is -1"),
        ({"train_y": np.array([0.0, 1.0])}, "train_y must have one axis and a dtype of 'iu', is float64"),
        ({"train_y": np.array([[0, 1]])}, "train_y must have one axis"),
        ({"train_y": np.array([0, 2**40])}, r"train_y\[1\] is 1099511627776"),
        ({"train_off": np.array([0.0, 1.0, 2.0])}, "train_off must have one axis"),
        ({"train_off": np.array([0, 1, 2**62])}, "truncated"),
        ({"train_off": np.array([9, 5, 7], "uint64")}, "rising offsets"),
        ({"train_jpeg": np.zeros(99, "int32")}, "train_jpeg must be uint8"),
        ({"classes": np.zeros((2, 2), "U3")}, "classes must have one axis"),
    ],
)
def test_packs(tmp_path, changes, message):
    jpeg_pack(pack(tmp_path / "good.npz"))
    with pytest.raises(ValueError, match=message) as error:
        jpeg_pack(pack(tmp_path / "pack.npz", **changes))
    assert "pack.npz" in str(error.value)


def test_lossless_packs(tmp_path):
    path = tmp_path / "originals.npz"
    x = np.zeros((2, 4, 4, 3), "uint8")
    for y, index, message in (
        (np.array([0, 9]), np.array([0, 1]), r"originals.npz: y must lie in \[0, 2\)"),
        (np.array([0, 1]), np.array([0, 2**40]), "originals.npz: train_index must be positions"),
        (np.array([0, 1]), np.array([0.5, 1]), "originals.npz: train_index must have one axis"),
    ):
        np.savez(path, x=x, y=y, train_index=index)
        with pytest.raises(ValueError, match=message):
            lossless_pack(path, ["a", "b"])


def header(shape, dtype="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_memory_that_is_declared_but_not_there(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header((10**13,)))
    with pytest.raises(ValueError, match=r"a.npz .*x.npy declares uint8 \(10000000000000,\)"):
        read_npz(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        member.write(header((9 * 2**25,)))  # more than 2^28, which any file may take
        for _ in range(9):
            member.write(bytes(2**25))
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match="a.npz .*would take more than"):
        read_npz(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", header((0,)))
    with pytest.raises(ValueError, match="a.npz .*compressed in a way that NumPy does not write"):
        read_npz(path)


@pytest.fixture
def records(source, tmp_path):
    return write_tfrecords(source.subset(range(6)), tmp_path / "set", shards=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": ["../secret.tfrecord", "b"]}, "shards must be a list of names of files in the directory"),
        ({"shards": "ab"}, "shards must be a list"),
        ({"count": True}, "count must be a positive integer"),
        ({"image_shape": [8, 6, 7]}, r"image_shape must be \[height, width, 1 or 3\]"),
        ({"image_shape": [-8, 6, 3]}, "image_shape must be"),
        ({"class_names": [1, 2]}, "class_names must be a list of strings"),
        ({"name": None}, "name must be a string"),
    ],
)
def test_an_index_that_lies(records, change, message):
    path = records / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=f"the index of .*set is damaged: index.json: {message}"):
        read_tfrecords(records)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shard", 5, "record 2 cannot lie in shard 5"),
        ("offset", -1, "record 2 cannot lie in shard 0 at byte -1"),
        ("offset", 2**63 - 1, "record 2 cannot lie in"),
        ("length", 2**62, "record 2 cannot lie in"),
        ("label", 9, r"label must lie in \[0, 4\), one for each class; label\[2\] is 9"),
    ],
)
def test_columns_that_lie(records, key, value, message):
    columns = dict(np.load(records / "index.npz"))
    columns[key][2] = value
    np.savez(records / "index.npz", **columns)
    with pytest.raises(ValueError, match=f"index.npz: {message}"):
        read_tfrecords(records)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_shard_with_a_name_that_no_file_system_takes(records, name):
    about = json.loads((records / "index.json").read_text())
    (records / "index.json").write_text(json.dumps({**about, "shards": [name, about["shards"][1]]}))
    with pytest.raises(FileNotFoundError, match="the shard .*set/.* is missing"):
        read_tfrecords(records)
    with pytest.raises(ValueError, match="the shard .*set/"):
        verify_tfrecords(records)


@pytest.mark.parametrize("record", [b"\xff\xff\xff", tf.train.Example().SerializeToString(), b""])
def test_records_without_an_image(records, record):
    source = read_tfrecords(records)
    source.storage.columns["checksum"][1] = zlib.crc32(record)
    source.storage.columns["length"][1] = len(record)
    shard = records / "images-00000-of-00002.tfrecord"
    offset = int(source.storage.columns["offset"][1])
    data = shard.read_bytes()
    shard.write_bytes(data[:offset] + record + data[offset + len(record) :])
    with pytest.raises(ValueError, match=r"record 1, in .*images-00000-of-00002.tfrecord at byte \d+: no image with"):
        source.storage.encoded(1)


def test_a_label_that_is_not_the_index(records):
    source = read_tfrecords(records)
    source.storage.columns["label"][3] = 2
    with pytest.raises(ValueError, match=r"record 3, in .*: the label is 0, in the index 2"):
        source.storage.read(3)


counted = pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])


@counted
@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_fuzz_images(tmp_path, form, count):
    content, path = io.BytesIO(), tmp_path / "photo"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 16, 3), "uint8")).save(content, form)

    def read(data):
        path.write_bytes(data)
        assert decode_image(str(path), 3).shape[2] == 3

    fuzz(read, [content.getvalue()], count, names="photo")


@counted
def test_fuzz_packs(tmp_path, count):
    path = tmp_path / "pack.npz"
    seed = pack(path).read_bytes()

    def read(data):
        path.write_bytes(data)
        jpeg_pack(path)

    fuzz(read, [seed], count, names="pack")


@counted
@pytest.mark.parametrize("name", ["index.json", "index.npz", "images-00001-of-00002.tfrecord"])
def test_fuzz_records(records, name, count):
    path = records / name

    def read(data):
        path.write_bytes(data)
        source = read_tfrecords(records)
        for index in range(len(source)):
            source.storage.read(index)

    fuzz(read, [path.read_bytes()], count, names="set")
