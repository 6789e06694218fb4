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


@pytest.mark.parametrize("shape", [(5,), (-1, 2), (2**62, 4), (0,)])
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
