import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, fill, same

from ds_keras.layers import SliceableBatchNormalization

SHAPES = [(4, 3, 3), (4,)]  # without channels: images and rank 2


def norm(num_levels=3, statistics=None, **kwargs):
    layer = SliceableBatchNormalization(num_levels, statistics, **kwargs)
    layer.build((None, 3, 3, 10))
    return fill(layer)


def reference(layer, row, channels, shape):
    plain = keras.layers.BatchNormalization(momentum=layer.momentum, epsilon=layer.epsilon)
    plain.build(shape)
    affine = [array(w)[:channels] for w in (layer.gamma, layer.beta)]
    plain.set_weights(affine + [array(w)[row, :channels] for w in (layer.moving_mean, layer.moving_variance)])
    return plain


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("level", "channels"), [(0, 4), (1, 10), (2, 7)])
def test_inference_equals_plain_keras(rng, shape, level, channels):
    layer = norm()
    x = rng.normal(1, 2, (*shape, channels)).astype("float32")
    expected = reference(layer, level, channels, x.shape)(x, training=False)
    close(layer(x, level=level), expected)
    ((plain, weights),) = layer.plain(x.shape, level, "plain")
    plain.build(x.shape)
    plain.set_weights(weights)
    close(plain(x, training=False), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize(("level", "channels"), [(0, 4), (1, 10), (2, 7)])
def test_training_equals_plain_keras_and_moves_only_its_row(rng, shape, as_tensor, level, channels):
    layer = norm(momentum=0.8)
    before = {w.name: array(w) for w in layer.weights}
    x = rng.normal(1, 2, (*shape, channels)).astype("float32")
    y = layer(x, level=tf.constant(level) if as_tensor else level, training=True)
    close(y, reference(layer, level, channels, x.shape)(x, training=True))
    flat = x.reshape(-1, channels)
    for name, batch in (("moving_mean", flat.mean(0)), ("moving_variance", flat.var(0, ddof=1))):
        after, old = array(getattr(layer, name)), before[name]
        close(after[level, :channels], 0.8 * old[level, :channels] + 0.2 * batch)
        outside = np.ones_like(old, bool)
        outside[level, :channels] = False
        same(after[outside], old[outside])
    same(layer.gamma, before["gamma"])
    same(layer.beta, before["beta"])


def test_normalize_batch_changes_no_state(rng):
    layer = norm()
    before = layer.get_weights()
    x = rng.normal(1, 2, (8, 4)).astype("float32")
    y, mean, variance = layer.normalize_batch(tf.constant(x))
    close(y, reference(layer, 0, 4, x.shape)(x, training=True))
    close(mean, x.mean(0))
    close(variance, x.var(0, ddof=1))
    for old, new in zip(before, layer.get_weights(), strict=True):
        same(new, old)


def test_levels_may_share_statistics(rng):
    layer = norm(statistics=[0, 0, 1])
    assert layer.moving_mean.shape == (2, 10)
    x = rng.normal(size=(4, 10)).astype("float32")
    same(layer(x, level=0), layer(x, level=1))
    assert np.abs(layer(x, level=0) - layer(x, level=2)).max() > 0.01
    layer(x, level=1, training=True)
    same(layer(x, level=0), layer(x, level=1))


@pytest.mark.parametrize("as_tensor", [False, True])
def test_gradients_outside_the_slice_are_zero(rng, as_tensor):
    layer = norm()
    x = rng.normal(size=(6, 3, 3, 4)).astype("float32")
    for training in (False, True):
        with tf.GradientTape() as tape:
            y = layer(x, level=tf.constant(1) if as_tensor else 1, training=training)
            loss = tf.reduce_sum(y**3)
        for gradient in tape.gradient(loss, [layer.gamma.value, layer.beta.value]):
            assert np.all(gradient[:4] != 0)
            assert not np.any(gradient[4:])


def test_set_statistics_writes_one_prefix():
    layer = norm()
    mean, variance = array(layer.moving_mean), array(layer.moving_variance)
    layer.set_statistics(1, np.full(4, 7.0), np.full(4, 9.0))
    mean[1, :4], variance[1, :4] = 7, 9
    same(layer.moving_mean, mean)
    same(layer.moving_variance, variance)


@pytest.mark.parametrize("statistics", [[0, 1], [0, 2, 2], [1, 1, 1]])
def test_bad_statistics(statistics):
    with pytest.raises(ValueError, match="statistics must name a row"):
        SliceableBatchNormalization(3, statistics)


def test_errors():
    with pytest.raises(ValueError, match="level must be given"):
        norm()(tf.ones([2, 4]))
    with pytest.raises(ValueError, match="level must be an integer in"):
        norm()(tf.ones([2, 4]), level=3)
    with pytest.raises(ValueError, match="at most 10 channels, received 11"):
        norm()(tf.ones([2, 11]), level=0)
