import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, fill

from ds_keras.layers import SliceableConv2D, SliceableDepthwiseConv2D

SIZES = [4, 7, 10]
CHANNELS = 6


def conv(kernel_size=3, channels=CHANNELS, **kwargs):
    layer = SliceableConv2D(10, kernel_size, sizes=SIZES, **kwargs)
    layer.build((None, 9, 9, channels))
    return fill(layer)


def depthwise(kernel_size=3, **kwargs):
    layer = SliceableDepthwiseConv2D(kernel_size, sizes=SIZES, **kwargs)
    layer.build((None, 9, 9, 10))
    return fill(layer)


def plain(layer_class, x, weights, padding, kernel_size, strides, **kwargs):
    """The plain Keras layer with ``weights`` on ``x``; symmetric padding by hand."""
    if padding == "symmetric":
        margins = [((k - 1) // 2,) * 2 for k in np.broadcast_to(kernel_size, 2)]
        x = np.pad(x, [(0, 0), *margins, (0, 0)])
    layer = layer_class(
        kernel_size=kernel_size,
        strides=strides,
        padding="same" if padding == "same" else "valid",
        use_bias=len(weights) > 1,
        **kwargs,
    )
    layer.build(x.shape)
    layer.set_weights(weights)
    return layer(x)


def run_plain(pairs, x):
    """``layer.plain()``'s layers, one after another."""
    for layer, weights in pairs:
        layer.build(x.shape)
        layer.set_weights(weights)
        x = layer(x)
    return x


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (3, 2), (5, 2), (1, 2), ((3, 1), (1, 2)), (2, 1)])
@pytest.mark.parametrize(("use_bias", "level", "channels"), [(False, 0, 3), (True, 1, 6), (True, 2, 5)])
def test_conv_equals_plain_keras(rng, padding, kernel_size, strides, use_bias, level, channels):
    layer = conv(kernel_size, strides=strides, padding=padding, use_bias=use_bias)
    x = rng.normal(size=(2, 9, 9, channels)).astype("float32")
    filters = SIZES[level]
    weights = [array(layer.kernel)[:, :, :channels, :filters]]
    if use_bias:
        weights.append(array(layer.bias)[:filters])
    expected = plain(keras.layers.Conv2D, x, weights, padding, kernel_size, strides, filters=filters)
    for call in ({"level": level}, {"slice_ratio": filters / 10}):
        close(layer(x, **call), expected)
    close(run_plain(layer.plain((None, 9, 9, channels), level, "plain"), x), expected)
    assert layer.output_shape_at((None, 9, 9, channels), level) == (None, *expected.shape[1:])


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
@pytest.mark.parametrize(("kernel_size", "strides"), [(3, 1), (3, 2), (5, 2), (1, 1), ((1, 3), 1)])
@pytest.mark.parametrize("level", [0, 2])
def test_depthwise_equals_plain_keras(rng, padding, kernel_size, strides, level):
    layer = depthwise(kernel_size, strides=strides, padding=padding)
    channels = SIZES[level]
    x = rng.normal(size=(2, 9, 9, channels)).astype("float32")
    weights = [array(layer.kernel)[:, :, :channels]]
    expected = plain(keras.layers.DepthwiseConv2D, x, weights, padding, kernel_size, strides)
    for call in ({"level": level}, {"slice_ratio": channels / 10}):
        close(layer(x, **call), expected)
    close(run_plain(layer.plain(x.shape, level, "plain"), x), expected)
    assert layer.output_shape_at((None, 9, 9, channels), level) == (None, *expected.shape[1:])


def test_divisor_rounds_the_filters():
    layer = SliceableConv2D(32, 1, divisor=8)
    assert layer(tf.ones([1, 2, 2, 3]), slice_ratio=0.3).shape[-1] == 8
    assert layer(tf.ones([1, 2, 2, 3]), slice_ratio=tf.constant(0.6)).shape[-1] == 16


@pytest.mark.parametrize(("ratio", "level"), [(0.5, 0), (None, None)])
@pytest.mark.parametrize("make", [conv, depthwise])
def test_exactly_one_of_ratio_and_level(make, ratio, level):
    with pytest.raises(ValueError, match="give exactly one of slice_ratio and level"):
        make()(tf.ones([1, 9, 9, 4]), slice_ratio=ratio, level=level)


@pytest.mark.parametrize("make", [conv, depthwise])
def test_too_many_channels(make):
    with pytest.raises(ValueError, match=r"x must have at most \d+ channels, received 11"):
        make()(tf.ones([1, 9, 9, 11]), level=2)


def test_depthwise_level_must_agree_with_x():
    with pytest.raises(ValueError, match=r"keeps the size of x, which is 4.*asks for 10 of 10"):
        depthwise()(tf.ones([1, 9, 9, 4]), level=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "filters must be a positive integer"),
        ({"kernel_size": (3, 0)}, "kernel_size must be"),
        ({"strides": (1, 2, 3)}, "strides must be"),
        ({"padding": "full"}, "padding must be one of"),
        ({"sizes": [4, 11]}, r"sizes must lie in \[1, filters=10\]"),
        ({"sizes": []}, "sizes must lie in"),
        ({"divisor": 0}, "divisor must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SliceableConv2D(**{"filters": 10, "kernel_size": 3, **arguments})


def test_a_level_needs_sizes():
    with pytest.raises(ValueError, match=r"needs a layer made with sizes="):
        SliceableConv2D(8, 3)(tf.ones([1, 9, 9, 3]), level=0)


def test_gradients_outside_the_slice_are_zero(rng):
    layer = conv(use_bias=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(rng.normal(size=(2, 9, 9, 3)).astype("float32"), level=1) ** 2)
    kernel, bias = (array(g) for g in tape.gradient(loss, [layer.kernel.value, layer.bias.value]))
    assert np.all(kernel[:, :, :3, :7] != 0)
    assert np.all(bias[:7] != 0)
    assert not np.any(kernel[:, :, 3:])
    assert not np.any(kernel[..., 7:])
    assert not np.any(bias[7:])


def test_depthwise_gradients_outside_the_slice_are_zero(rng):
    layer = depthwise()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(rng.normal(size=(2, 9, 9, 4)).astype("float32"), level=0) ** 2)
    gradient = array(tape.gradient(loss, layer.kernel.value))
    assert np.all(gradient[:, :, :4] != 0)
    assert not np.any(gradient[:, :, 4:])
