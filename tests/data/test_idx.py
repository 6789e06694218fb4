import gzip
import os

import numpy as np
import pytest
from fuzz import fuzz

from ds_keras.data import fashion_mnist

NAMES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype("uint8").tobytes()


@pytest.fixture
def folder(tmp_path, rng):
    for count, (images, labels) in zip((7, 3), NAMES.values(), strict=True):
        (tmp_path / images).write_bytes(gzip.compress(idx(rng.integers(0, 256, (count, 28, 28)))))
        (tmp_path / labels).write_bytes(gzip.compress(idx(np.arange(count))))
    return tmp_path


def test_reads(folder):
    sets = fashion_mnist(folder)
    assert len(sets["train"]) == 7 and len(sets["test"]) == 3
    assert sets["train"].image_shape == (28, 28, 1) and sets["train"].class_names[9] == "Ankle boot"
    np.testing.assert_array_equal(sets["test"].labels, [0, 1, 2])


def test_missing(folder):
    (folder / NAMES["test"][0]).unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-images-idx3-ubyte.gz is missing"):
        fashion_mnist(folder)


def test_damage(folder):
    path = folder / NAMES["train"][0]
    good = path.read_bytes()
    raw = gzip.decompress(good)
    cases = {
        "train-images.* is truncated or damaged": [good[:-200], b"not gzip", good[:40] + b"xxxx" + good[44:]],
        "not an idx file of bytes of rank 3": [gzip.compress(b"\0\0\x08\x01" + raw[4:]), gzip.compress(raw[:9]), b""],
        "should hold 5488 bytes": [gzip.compress(raw[:-1]), gzip.compress(raw + b"\0")],
        "6 train images but 7 labels": [gzip.compress(idx(np.zeros([6, 28, 28])))],
    }
    for message, contents in cases.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(ValueError, match=message):
                fashion_mnist(folder)


def test_what_is_declared_but_not_there(folder):
    path = folder / NAMES["train"][0]
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12))
    with pytest.raises(ValueError, match="declares the shape .*4294967295.*, more than 268435456 bytes"):
        fashion_mnist(folder)
    path.write_bytes(gzip.compress(idx(np.zeros([7, 28, 28])) + bytes(1 << 28)))  # some kilobytes
    with pytest.raises(ValueError, match="should hold 5488 bytes .* but holds more"):
        fashion_mnist(folder)
    path.write_bytes(gzip.compress(idx(np.zeros([7, 14, 56]))))
    with pytest.raises(ValueError, match=r"train images must have the shape \(28, 28\), received \(14, 56\)"):
        fashion_mnist(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte.gz is no regular file"):
        fashion_mnist(folder)


def test_labels_that_are_no_class(folder):
    (folder / NAMES["test"][1]).write_bytes(gzip.compress(idx(np.array([0, 10, 2]))))
    with pytest.raises(ValueError, match=r"test labels must lie in \[0, 10\), .* test labels\[1\] is 10"):
        fashion_mnist(folder)


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("packed", [True, False], ids=["the file", "what is in it"])
def test_fuzz(folder, count, packed):
    path = folder / NAMES["train"][0]
    seed = path.read_bytes()

    def read(data):
        path.write_bytes(data if packed else gzip.compress(data, 1))
        fashion_mnist(folder)

    fuzz(read, [seed if packed else gzip.decompress(seed)], count, names="train")


def test_the_real_files(shared_data):
    sets = fashion_mnist(shared_data / "fashion-mnist")
    assert len(sets["train"]) == 60_000 and len(sets["test"]) == 10_000
    np.testing.assert_array_equal(np.bincount(sets["test"].labels), 1000)
    assert sets["train"].labels[:5].tolist() == [9, 0, 0, 3, 0]
