import numpy as np
import pytest
from helpers import same
from hypothesis import given
from hypothesis import strategies as st

from ds_keras.convert import caffe_file


def saved(path, layers, shape=None):
    """A file in Caffe's format with these arrays; ``shape`` in place of the first one's."""
    net = caffe_file._message("NetParameter")()
    for name, arrays in layers.items():
        layer = net.layer.add(name=name)
        for array in arrays:
            blob = layer.blobs.add(data=np.ravel(array))
            blob.shape.dim.extend(np.shape(array) if shape is None else shape)
    path.write_bytes(net.SerializeToString())
    return path


def test_reads_what_was_written(tmp_path):
    layers = {"conv": [np.arange(24, dtype="float32").reshape(2, 3, 2, 2), np.ones(2, "float32")], "data": []}
    found = caffe_file.read_blobs(saved(tmp_path / "a.caffemodel", layers))
    assert list(found) == ["conv"]
    for array, expected in zip(found["conv"], layers["conv"], strict=True):
        same(array, expected)


def test_the_format_byte_by_byte(tmp_path):
    """A network (layer: field 100) with a layer "c" (name 1, blobs 7) of one blob (shape 7, data 5)."""
    blob = bytes.fromhex("3a03 0a0102") + b"\x2a\x08" + np.array([1, 2], "<f4").tobytes()
    layer = bytes.fromhex("0a0163") + b"\x3a" + bytes([len(blob)]) + blob
    (tmp_path / "a.caffemodel").write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    found = caffe_file.read_blobs(tmp_path / "a.caffemodel")
    assert {name: [array.tolist() for array in arrays] for name, arrays in found.items()} == {"c": [[1, 2]]}


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda layer: b"", "0 layers"),
        (lambda layer: 2 * layer, "2 layers, of at most 10000 with arrays and names of their own"),
        (lambda layer: 10_001 * b"\xa2\x06\x00" + layer, "10002 layers"),
    ],
)
def test_too_many_layers_or_none(tmp_path, net, message):
    path = saved(tmp_path / "a.caffemodel", {"conv": [np.ones(4)]})
    path.write_bytes(net(path.read_bytes()))
    with pytest.raises(ValueError, match=f"is not a Caffe model file: {message}"):
        caffe_file.read_blobs(path)


def test_too_many_arrays_of_a_layer(tmp_path):
    with pytest.raises(ValueError, match="more than 16 arrays"):
        caffe_file.read_blobs(saved(tmp_path / "a.caffemodel", {"conv": [np.ones(1)] * 17}))


@pytest.mark.parametrize("shape", [(5,), (-1, 2), (2**62, 4), (0,), (), (1,) * 9])
def test_a_shape_that_does_not_fit_is_refused(tmp_path, shape):
    path = saved(tmp_path / "a.caffemodel", {"conv": [np.ones(4)]}, shape)
    with pytest.raises(ValueError, match=r"a\.caffemodel is not a Caffe model file: .*shape"):
        caffe_file.read_blobs(path)


def test_a_file_too_large_or_absent_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.caffemodel", {"conv": [np.ones(4)]})
    monkeypatch.setattr(caffe_file, "MAX_BYTES", 8)
    with pytest.raises(ValueError, match=r"a\.caffemodel.*at most 8"):
        caffe_file.read_blobs(path)
    with pytest.raises(ValueError, match=r"b\.caffemodel"):
        caffe_file.read_blobs(tmp_path / "b.caffemodel")


@given(st.binary(max_size=200))
def test_other_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("caffe") / "a.caffemodel"
    path.write_bytes(data)
    try:
        assert isinstance(caffe_file.read_blobs(path), dict)
    except ValueError as error:
        assert "a.caffemodel is not a Caffe model file" in str(error)
