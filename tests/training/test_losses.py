import numpy as np
import pytest
import tensorflow as tf
from helpers import close, same

from ds_keras.training import losses
from ds_keras.training.base import accuracy


@pytest.mark.parametrize(("smoothing", "high", "low"), [(0.0, 1.0, 0.0), (0.2, 0.85, 0.05), (1.0, 0.25, 0.25)])
def test_smooth_labels(smoothing, high, low):
    expected = np.full((3, 4), low)
    expected[[0, 1, 2], [2, 0, 3]] = high
    close(losses.smooth_labels(tf.constant([2, 0, 3], tf.int64), 4, smoothing), expected, tolerance=1e-6)


def test_smooth_probabilities():
    """What mixup gives: the same as the mixture of what the classes give."""
    soft = tf.constant([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    mixture = 0.25 * losses.smooth_labels(tf.constant([0, 2]), 3, 0.3) + 0.75 * losses.smooth_labels(
        tf.constant([1, 2]), 3, 0.3
    )
    close(losses.smooth_labels(soft, 3, 0.3), mixture, tolerance=1e-6)


def test_accuracy_of_probabilities():
    logits = tf.constant([[3.0, 1, 2], [0, 5, 1], [1, 0, 9]])
    same(accuracy(tf.constant([[0.6, 0.4, 0.0], [0.9, 0.1, 0.0], [0.0, 0.2, 0.8]]), logits), [1, 0, 1])


def test_cross_entropy_by_hand(rng):
    logits, targets = rng.normal(size=(5, 3)).astype("float32"), rng.dirichlet(np.ones(3), 5).astype("float32")
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    with tf.GradientTape(persistent=True) as tape:
        inputs = tf.constant(logits), tf.constant(targets)
        tape.watch(inputs)
        loss = losses.cross_entropy(inputs[1], inputs[0])
    close(loss, -(targets * log_p).sum(1).mean(), tolerance=1e-6)
    close(tape.gradient(loss, inputs[0]), (np.exp(log_p) - targets) / 5, tolerance=1e-6)
    assert tape.gradient(loss, inputs[1]) is None


LOGITS = tf.constant([[3.0, 1, 2], [0, 5, 1], [1, 0, 9]])


def test_an_image_is_easy_where_the_level_is_right():
    same(accuracy(tf.constant([0, 0, 2]), LOGITS), [1, 0, 1])
    same(accuracy(tf.one_hot([0, 0, 2], 3), LOGITS), [1, 0, 1])


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_the_sandwich_is_a_weighted_cross_entropy(share):
    """Of level 0 and the last; an easiness between 0 and 1 is a mixture of both."""
    log = tf.nn.log_softmax(LOGITS).numpy()
    weights = 0.5 / share, 0.5 / (1 - share)
    easy = np.array([1, 0, 0.3], "float32")
    expected = -np.mean(weights[0] * easy * log[:, 0] + weights[1] * (1 - easy) * log[:, 2])
    close(losses.sandwich(tf.constant(easy), LOGITS, share), expected, tolerance=1e-6)


def test_cross_entropy_weighs_images():
    weighted = losses.cross_entropy(tf.one_hot([0, 0, 2], 3), LOGITS, tf.constant([1.0, 0, 0]))
    close(weighted, -tf.nn.log_softmax(LOGITS)[0, 0] / 3, tolerance=1e-6)


def test_gumbel_one_hot_samples_the_softmax():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    logits = tf.tile(tf.math.log(tf.constant(p, tf.float32))[None], [20000, 1])
    sample = np.asarray(losses.gumbel_one_hot(logits, tf.constant([1, 2])))
    close(sample.max(1), np.ones(20000), tolerance=1e-6)
    close(sample.sum(1), np.ones(20000), tolerance=1e-6)
    close(sample.mean(0), p, tolerance=0.015)
    same(losses.gumbel_one_hot(logits, tf.constant([1, 2])), sample)
    assert np.any(losses.gumbel_one_hot(logits, tf.constant([1, 3])) != sample)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_gumbel_one_hot_has_the_gradient_of_the_softmax(rng, temperature):
    logits = tf.constant(rng.normal(size=(6, 3)), tf.float32)
    value = tf.constant(rng.normal(size=(6, 3)), tf.float32)
    seed = tf.constant([4, 5])
    noise = -tf.math.log(-tf.math.log(tf.random.stateless_uniform([6, 3], seed, 1e-7, 1.0)))
    gradients = []
    for function in (
        lambda z: losses.gumbel_one_hot(z, seed, temperature),
        lambda z: tf.nn.softmax((z + noise) / temperature),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = tf.reduce_sum(value * function(logits))
        gradients.append(tape.gradient(loss, logits))
    close(*gradients, tolerance=1e-5)
    assert np.abs(gradients[0]).max() > 0.01


@pytest.mark.parametrize("labels", [np.zeros([4, 1], "int32"), np.zeros([4, 3], "int64"), np.zeros([4, 2], "float32")])
def test_labels_of_another_shape(labels):
    """As keras.datasets gives them: (n, 1) would broadcast."""
    for call in (lambda: losses.smooth_labels(labels, 3, 0.1), lambda: accuracy(labels, tf.zeros([4, 3]))):
        with pytest.raises(ValueError, match=r"labels must be \(batch,\) integers or \(batch, 3\) float"):
            call()
