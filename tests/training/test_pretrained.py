import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano, nano_resnet, nano_v2, same, snapshot

from ds_keras.core.visitor import Compute
from ds_keras.training import SupernetTrainer, calibrate_batch_norm
from ds_keras.training.folded import Folded

X, Y = images(12), np.arange(12) % 3


def trained(model, eager=True, **kwargs):
    """One step. Eager, because tracing takes longer."""
    trainer = SupernetTrainer(model, **{"num_random": None, "objective": "ce", **kwargs})
    trainer.compile(keras.optimizers.SGD(0.05), run_eagerly=eager)
    trainer.fit(X, Y, batch_size=12, epochs=1, verbose=0)
    return trainer


@pytest.mark.parametrize("make", [nano, nano_v2, nano_resnet])
def test_folded_pass_equals_inference_with_its_gradients(make):
    model = make()
    variables = [v for v in model.supernet_variables if "gate" not in v.path]
    results = []
    for visitor in (Folded(1), Compute(1)):
        with tf.GradientTape() as tape:
            logits = model.logits(visitor, X)
            loss = tf.reduce_sum(logits**2)
        results.append((logits, [g for g in tape.gradient(loss, variables) if g is not None]))
    close(results[0][0], results[1][0])
    assert len(results[0][1]) == len(results[1][1]) > 4
    for a, b in zip(*(gradients for _, gradients in results), strict=True):
        close(a, b, 1e-3)


@pytest.mark.parametrize("eager", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["eager", "traced"])
def test_frozen_start_and_kept_statistics(eager):
    model = nano_v2()
    before = snapshot(model)
    trained(model, eager=eager, frozen_start=True, fixed_statistics=(2,))
    moved = {path for path, value in snapshot(model).items() if not np.array_equal(value, before[path])}
    assert not [path for path in moved if "/stem" in path or "/stage1" in path]
    assert {path.split("/")[-1] for path in moved} >= {"kernel", "gamma", "beta", "moving_mean", "moving_variance"}
    norm = model.last[1]
    path = norm.moving_mean.path
    same(norm.moving_mean[2], before[path][2])
    assert all(np.abs(array(norm.moving_mean)[k] - before[path][k]).max() > 1e-4 for k in (0, 1))


def test_a_share_of_the_batch():
    """The largest pass learns from the first images only: the others may hold anything."""
    other = np.concatenate([X[:3], X[3:] * 0])
    results = []
    for x in (X, other):
        model = nano_v2()
        kept = {"frozen_start": True, "fixed_statistics": (2,)}  # else the other images are in the statistics
        trainer = SupernetTrainer(model, num_random=None, objective="ce", levels=(2,), shares=(1, 1, 0.25), **kept)
        trainer.compile(keras.optimizers.SGD(0.05), run_eagerly=True)
        trainer.fit(x, Y, batch_size=12, epochs=1, verbose=0, shuffle=False)
        results.append(array(model.classifier.kernel))
    close(results[0], results[1])
    assert np.abs(results[0] - array(nano_v2().classifier.kernel)).max() > 1e-4


def test_all_shares_with_a_trained_start():
    model = nano_v2()
    before = array(model.stem[0].kernel)
    trained(model, shares=(1, 0.5, 0.25))
    assert np.abs(array(model.stem[0].kernel) - before).max() > 1e-5


@pytest.fixture(scope="module")
def untrained():
    """Three levels: do not change it."""
    return nano_v2()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"fixed_statistics": (2,), "num_random": 1}, "num_random=None"),
        ({"shares": (1, 1, 1), "num_random": 1}, "num_random=None"),
        ({"shares": (1, 0.5)}, "shares must list"),
        ({"shares": (0.5, 0.5, 1)}, "shares must list"),
        ({"shares": (1, 0, 1)}, "shares must list"),
        ({"shares": (1, 1, 0.5), "objective": "inplace"}, "shares must be None with 'inplace'"),
        ({"fixed_statistics": (5,)}, "level must be"),
        ({"frozen_start": True, "quantize": "int8"}, "quantize must be None"),
    ],
)
def test_bad_arguments(untrained, kwargs, message):
    with pytest.raises(ValueError, match=message):
        SupernetTrainer(untrained, **{"num_random": None, **kwargs})


def test_calibration_of_the_body_alone():
    model = nano_v2()
    before = snapshot(model)
    calibrate_batch_norm(model, [X], levels=[0, 1], start=False)
    moved = {path for path, value in snapshot(model).items() if not np.array_equal(value, before[path])}
    assert moved
    assert not [path for path in moved if "/stem" in path or "/stage1" in path]
    path = model.last[1].moving_mean.path
    same(array(model.last[1].moving_mean)[2], before[path][2])
