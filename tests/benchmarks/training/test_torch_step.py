import numpy as np
import pytest
import tensorflow as tf
from helpers import images, nano_v2

from ds_keras.benchmarks.training.torch_step import torch_step
from ds_keras.core.visitor import Compute


@pytest.fixture(scope="module", autouse=True)
def _torch():
    """Not while the tests are collected: PyTorch takes long to import."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install ds_keras[convert]")


def test_the_losses_of_every_level_with_batch_statistics():
    """Levels that differ in width, kernel and depth; a step lowers them."""
    model, x, y = nano_v2(), images(8), np.arange(8) % 3
    expected = []
    for level in (2, 1, 0):
        logits = model.logits(Compute(level, training=True), tf.constant(x, tf.float32))
        expected.append(float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))))
    step = torch_step(model, rate=1e-2)
    first = step(x.astype("float32"), y)
    assert first == pytest.approx(expected, abs=1e-4)
    assert sum(step(x.astype("float32"), y)) < sum(first)
