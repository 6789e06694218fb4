"""Kernel-size slicing: a level runs with the centre of its kernel (DS-Net++, arXiv 2109.10060)."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, fill, same

from ds_keras import layers
from ds_keras.core import cost

KERNELS = [1, 3, 5]


def cropped(kind, padding, strides=1):
    """A layer whose level chooses the centre of its kernel."""
    if kind == "conv":
        layer = layers.SliceableConv2D(6, 5, strides, padding, sizes=[2, 4, 6], kernel_sizes=KERNELS)
    else:
        layer = layers.SliceableDepthwiseConv2D(5, strides, padding, sizes=[2, 4, 6], kernel_sizes=KERNELS)
    layer.build((None, 9, 9, 6))
    return fill(layer)


@pytest.mark.parametrize("kind", ["conv", "depthwise"])
@pytest.mark.parametrize(
    ("padding", "strides"), [("same", 1), ("same", 2), ("symmetric", 1), ("symmetric", 2), ("valid", 1)]
)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_uses_the_centre_of_the_kernel(kind, padding, strides, level):
    layer = cropped(kind, padding, strides)
    x = np.random.default_rng(level).normal(size=(2, 9, 9, [2, 4, 6][level])).astype("float32")
    y = layer(x, level=level)
    assert (None, *y.shape[1:]) == layer.output_shape_at((None, *x.shape[1:]), level)
    inputs = keras.Input(x.shape[1:])
    plain = inputs
    for twin, weights in layer.plain((None, *x.shape[1:]), level, "twin"):
        plain = twin(plain)
        twin.set_weights(weights)
        size, low = KERNELS[level], (5 - KERNELS[level]) // 2
        if weights:
            same(weights[0][..., 0, 0], np.array(layer.kernel)[low : low + size, low : low + size, 0, 0])
    plain = keras.Model(inputs, plain)
    close(plain(x), y, tolerance=1e-5)
    shape = (None, *x.shape[1:])
    assert cost.count_plain(plain) == (layer.madds_at(shape, level), layer.params_at(shape, level))
    graph = tf.function(lambda x, k: layer(x, level=k), autograph=False)
    close(graph(x, tf.constant(level)), y, tolerance=1e-5)
    if level == 2:  # by ratio, the crop is an argument of its own
        for size in (3, tf.constant(3)):
            found = layer(x, slice_ratio=1.0, kernel_size=size)
            assert found.shape[1] == -(-(9 - 2 * (padding == "valid")) // strides)
        assert np.abs(found[:, :3, :3] - y[:, :3, :3]).max() > 0.1


def test_a_crop_keeps_the_gradient_inside():
    layer = cropped("conv", "same")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.ones([1, 9, 9, 4]), level=1) ** 2)
    gradient = np.array(tape.gradient(loss, layer.kernel.value))
    assert (gradient[1:4, 1:4, :4, :4] != 0).all()
    gradient[1:4, 1:4, :4, :4] = 0
    assert not gradient.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_sizes": [1, 3]}, "kernel_sizes must list a size for each level"),
        ({"kernel_sizes": [1, 2, 5]}, "kernel_sizes must be at most .* received 2"),
        ({"kernel_sizes": [1, 3, 7]}, "kernel_sizes must be at most .* received 7"),
    ],
)
def test_bad_kernel_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.SliceableConv2D(6, 5, sizes=[2, 4, 6], **arguments)


def test_kernel_size_is_checked_at_the_call():
    layer, x = cropped("conv", "same"), tf.ones([1, 9, 9, 6])
    with pytest.raises(ValueError, match="kernel_size must be at most .* received 4"):
        layer(x, slice_ratio=1.0, kernel_size=4)
    with pytest.raises(ValueError, match="kernel_size goes with slice_ratio, received level=1"):
        layer(x, level=1, kernel_size=3)


def test_a_tensor_kernel_size_is_checked_too():
    layer, x = cropped("conv", "same"), tf.ones([1, 9, 9, 6])
    for size in (2, 7, 0):
        with pytest.raises(tf.errors.InvalidArgumentError, match="kernel_size must be smaller by an even number"):
            layer(x, slice_ratio=1.0, kernel_size=tf.constant(size))
    close(layer(x, slice_ratio=1.0, kernel_size=tf.constant(3, tf.int64)), layer(x, slice_ratio=1.0, kernel_size=3))
