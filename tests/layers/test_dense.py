import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, fill

from ds_keras.layers import SliceableDense

SIZES = [3, 8, 8]


def dense(**kwargs):
    layer = SliceableDense(8, sizes=SIZES, **kwargs)
    layer.build((None, 10))
    return fill(layer)


@pytest.mark.parametrize("shape", [(4, 10), (4, 5), (2, 3, 5), (2, 3, 4, 10)])
@pytest.mark.parametrize(("use_bias", "level"), [(True, 0), (False, 0), (True, 1)])
def test_dense_equals_plain_keras(rng, shape, use_bias, level):
    layer, units = dense(use_bias=use_bias), SIZES[level]
    x = rng.normal(size=shape).astype("float32")
    weights = [array(layer.kernel)[: shape[-1], :units]]
    if use_bias:
        weights.append(array(layer.bias)[:units])
    reference = keras.layers.Dense(units, use_bias=use_bias)
    reference.build(shape)
    reference.set_weights(weights)
    expected = reference(x)
    for call in ({"level": level}, {"slice_ratio": units / 8}):
        close(layer(x, **call), expected)
    ((plain, values),) = layer.plain(shape, level, "plain")
    plain.build(shape)
    plain.set_weights(values)
    close(plain(x), expected)
    assert layer.output_shape_at(shape, level) == tuple(expected.shape)


@pytest.mark.parametrize(("ratio", "level"), [(0.5, 0), (None, None)])
def test_exactly_one_of_ratio_and_level(ratio, level):
    with pytest.raises(ValueError, match="give exactly one of slice_ratio and level"):
        dense()(tf.ones([1, 10]), slice_ratio=ratio, level=level)


def test_too_many_features():
    with pytest.raises(ValueError, match="x must have at most 10 channels, received 11"):
        dense()(tf.ones([1, 11]), level=0)


def test_gradients_outside_the_slice_are_zero(rng):
    layer = dense()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(rng.normal(size=(4, 6)).astype("float32"), level=0) ** 2)
    kernel, bias = (array(g) for g in tape.gradient(loss, [layer.kernel.value, layer.bias.value]))
    assert np.all(kernel[:6, :3] != 0)
    assert np.all(bias[:3] != 0)
    assert not np.any(kernel[6:])
    assert not np.any(kernel[:, 3:])
    assert not np.any(bias[3:])


def test_bad_units():
    with pytest.raises(ValueError, match="units must be a positive integer, received 0"):
        SliceableDense(0)
