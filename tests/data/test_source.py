import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ds_keras.data import Source


def test_attributes(source):
    assert len(source) == 53 and source.image_shape == (8, 6, 3) and source.in_memory
    assert source.labels.dtype == np.int32 and source.class_names == ["a", "b", "c", "d"]
    assert "toy" in repr(source) and "53" in repr(source)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 52), seed=st.integers(0, 2**32 - 1))
def test_split_is_a_stratified_partition(source, count, seed):
    train, held_out = source.split(count, seed)
    names = [part.images()[:, 0, 0, 0] for part in (train, held_out)]
    assert len(held_out) == count
    assert sorted(np.concatenate(names)) == list(range(53))
    assert all((np.diff(part) > 0).all() for part in map(np.int32, names))
    expected = np.bincount(source.labels) * count / 53
    assert np.abs(np.bincount(held_out.labels, minlength=4) - expected).max() < 1
    again = source.split(count, seed)[1]
    np.testing.assert_array_equal(again.indices, held_out.indices)


def test_split_of_a_split_and_fixed_choice(source):
    """The choice is part of the contract: held-out figures depend on it."""
    train, held_out = source.split(0.1, seed=0)
    assert held_out.indices.tolist() == [1, 18, 22, 46, 52]
    inner = train.split(0.5, seed=1)[0]
    np.testing.assert_array_equal(inner.images(), source.images()[inner.indices])
    assert not set(inner.indices) & set(held_out.indices)
    assert source.split(5, seed=1)[1].indices.tolist() != held_out.indices.tolist()


@pytest.mark.parametrize("held_out", [0, 53, 0.0, 1.0, -1, True, 0.001])
def test_split_errors(source, held_out):
    with pytest.raises(ValueError, match=r"held_out must be a fraction"):
        source.split(held_out)


def test_subset(source):
    odd = source.subset(source.labels == 1)
    np.testing.assert_array_equal(odd.labels, 1)
    np.testing.assert_array_equal(odd.subset([2, 0]).images()[:, 0, 0, 0], [22, 20])
    for indices in ([], [53], [-1], [0.5], np.zeros(53, bool)):
        with pytest.raises(ValueError, match=r"indices must be"):
            source.subset(indices)


def test_load_agrees_with_images_in_graphs(source):
    part = source.subset([5, 3, 40])
    load = tf.function(part.load)
    np.testing.assert_array_equal(load(tf.constant(1, tf.int64)), part.images()[1])
    np.testing.assert_array_equal(load(tf.constant([2, 0], tf.int64)), part.images()[[2, 0]])


def test_pixels_are_not_part_of_the_graph():
    source = Source.from_arrays(np.zeros([100, 64, 64, 3], "uint8"), np.zeros(100, int), ["a"])
    graph = tf.function(source.load).get_concrete_function(tf.constant(0, tf.int64)).graph
    assert graph.as_graph_def().ByteSize() < 10_000


def test_images_at_a_size(source):
    images = source.images(size=(4, 4))
    assert images.shape == (53, 4, 4, 3) and images.dtype == np.uint8
    with pytest.raises(ValueError, match=r"size must be a positive"):
        source.images(size=0)


def test_encoded_images_of_varied_sizes(save):
    pixels = [np.full([8 + i, 10, 3], 40 * i) for i in range(3)]
    files = [save(f"{i}.png", each).read_bytes() for i, each in enumerate(pixels)]
    source = Source.from_arrays(files, [0, 1, 1], ["a", "b"])
    assert source.image_shape == (None, None, 3) and not source.in_memory
    with pytest.raises(ValueError, match=r"size=\(height, width\) is needed"):
        source.images()
    images = source.images(size=6)
    assert images.shape == (3, 6, 6, 3)
    np.testing.assert_array_equal(images[:, 3, 3, 0], [0, 40, 80])


def test_errors():
    images = np.zeros([2, 4, 4, 3], "uint8")
    with pytest.raises(ValueError, match=r"images must be uint8"):
        Source.from_arrays(images.astype("float32"), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"labels must be integers of shape \(2,\)"):
        Source.from_arrays(images, [0, 1, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\)"):
        Source.from_arrays(images, [0, 2], ["a", "b"])
    with pytest.raises(ValueError, match=r"at least one image"):
        Source.from_arrays(images[:0], np.zeros(0, int), ["a", "b"])
