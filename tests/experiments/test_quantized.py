"""Quantisation-aware Stage I, its statistics, and the int8 bundle of a preset."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano, nano_resnet, nano_vit, pair, same, snapshot

from ds_keras import zoo
from ds_keras.core.fake_quant import fake_quant_kernel
from ds_keras.core.levels import LevelTensor
from ds_keras.quantization.rounding import FakeQuantized
from ds_keras.training import SupernetTrainer, calibrate_batch_norm, losses

X, Y = images(24), np.arange(24) % 3


def test_a_step_is_that_of_the_rounded_network():
    """By hand, with the visitor that rounds; the teacher stays float."""
    model, twin = nano(residual=True), nano(residual=True)
    trainer = SupernetTrainer(model, quantize="int8", objective="ce", num_random=0, weight_decay=0.0)
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    trainer.train_on_batch(X, Y)
    truth = losses.smooth_labels(Y, 3, 0.1)
    variables = [v.value for v in twin.supernet_variables]
    with tf.GradientTape() as tape:
        loss = 0.0
        for level in (2, 0):
            visitor = FakeQuantized(level, training=True)
            features = visitor.rounded(twin.start(visitor, tf.constant(X))[0])
            loss += losses.cross_entropy(truth, visitor.rounded(twin.body(visitor, features)))
    for mine, start, gradient in zip(
        model.supernet_variables, twin.supernet_variables, tape.gradient(loss, variables), strict=True
    ):
        close(mine, array(start) - 0.1 * array(gradient), tolerance=1e-4)


@pytest.mark.slow  # a step by hand: above
def test_fit_lowers_the_loss_of_the_rounded_network():
    model = pair(residual=True)
    trainer = SupernetTrainer(model, quantize="int8", num_random=1, distill_start=1000)
    trainer.compile(keras.optimizers.Adam(3e-3))
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(24).repeat()
    history = trainer.fit(data, steps_per_epoch=10, epochs=4, verbose=0).history
    for name in ("largest_loss", "smallest_loss"):
        assert history[name][-1] < history[name][0] - 0.05


def test_statistics_of_the_rounded_network():
    model, plain = pair(), pair()
    before = snapshot(model)
    calibrate_batch_norm(model, [X], quantize="int8")
    calibrate_batch_norm(plain, [X])
    kernel = fake_quant_kernel(plain.stem.kernel, 3)
    visitor = FakeQuantized(0)
    x = visitor.rounded(visitor(plain.rescale, tf.constant(X)))
    y = np.asarray(keras.ops.conv(x, kernel, strides=2, padding="same")).reshape(-1, 4)
    close(array(model.stem_norm.moving_mean)[0], y.mean(0), tolerance=1e-5)
    assert np.abs(array(model.stem_norm.moving_mean) - array(plain.stem_norm.moving_mean)).max() > 1e-6
    same(array(model.stem.kernel), before[model.stem.kernel.path])


@pytest.mark.slow
def test_a_level_known_at_run_time_may_lack_blocks():
    """The same logits and gradients as the level given as an int; other levels' values stay out of the conditional."""
    model = nano_resnet(padding="same")
    graph = tf.function(lambda level: _gradients(model, LevelTensor(level, 3)), autograph=False)
    for level in range(3):
        expected, found = _gradients(model, level), graph(tf.constant(level))
        for mine, other in zip(found, expected, strict=True):
            close(mine, np.zeros(mine.shape) if other is None else other, tolerance=2e-3)
    assert _gradients(model, 0)[-1] is None and np.abs(_gradients(model, 1)[-1]).max() > 0


def _gradients(model, level):
    """Logits; then gradients of two kernels, of which level 0 has the first."""
    kernels = [model.blocks[1][block].steps[0].kernel.value for block in (0, 1)]
    with tf.GradientTape() as tape:
        visitor = FakeQuantized(level)
        logits = visitor.rounded(model.logits(visitor, tf.constant(X[:4])))
        loss = tf.reduce_sum(logits**2)
    return [logits, *tape.gradient(loss, kernels)]


def test_refused():
    with pytest.raises(ValueError, match="quantize must be None or 'int8', received 'int4'"):
        SupernetTrainer(nano(), quantize="int4")
    with pytest.raises(ValueError, match="int8 knows no"):
        SupernetTrainer(nano_vit(), quantize="int8")
    with pytest.raises(ValueError, match="quantize must be None or 'int8', received True"):
        calibrate_batch_norm(nano(), [X], quantize=True)


def test_the_digits_preset_has_its_figures():
    """What the card says of the int8 bundle is what ``metrics.json`` holds; each level is near the float model."""
    folder = zoo.presets() / "ds_mobilenet_digits"
    found = json.loads((folder / zoo.METRICS).read_text())["int8"]
    assert found["bytes"] == zoo.bundle("ds_mobilenet_digits", int8=True).stat().st_size
    card = (folder / zoo.CARD).read_text()
    for row in found["rows"]:
        assert f"| {row['level']} | {row['keras']} | {row['top1']} |" in card
        assert row["top1"] >= row["keras"] - 0.9  # three of 360 images
