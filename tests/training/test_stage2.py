import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images, nano, pair, same

from ds_keras.core import cost
from ds_keras.training import GateTrainer, losses

X, Y = images(24), np.arange(24) % 3


def make(model, eager=True, **kwargs):
    trainer = GateTrainer(model, **{"target": 0.9, **kwargs})
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=eager)
    return trainer


def weights_for(targets, share):
    return np.where(targets == 0, 0.5 / share, 0.5 / (1 - share))


def test_a_step_by_hand():
    model, twin = nano(gate_hidden=4), nano(gate_hidden=4)
    target = 0.8
    trainer = make(model, target=target, sandwich_weight=0.7, task_weight=1.5, budget_weight=2.0)
    logs = trainer.train_on_batch(X, Y, return_dict=True)

    every = np.stack([twin(X, level=k) for k in range(3)], axis=1)
    easy = every[:, 0].argmax(1) == Y
    assert 0 < easy.sum() < len(easy)
    targets = np.where(easy, 0, 2)
    start, gate, _ = twin.costs[0]
    relative = [(start + gate + part.body) / cost.madds(twin, 2) for part in twin.costs]
    weights = weights_for(targets, 0.5 + 0.05 * (easy.mean() - 0.5))
    with tf.GradientTape() as tape:
        shift = [float(twin.gate_shift[0]) * part.body / twin.costs[2].body for part in twin.costs]
        logits = twin.route(X) + tf.constant(shift)
        sample = losses.gumbel_one_hot(logits, tf.constant([1, 0]))
        spent = tf.reduce_mean(tf.linalg.matvec(sample, tf.constant(relative, tf.float32)))
        sandwich = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits) * weights.astype("float32")
        sandwich = tf.reduce_mean(sandwich)
        output = tf.einsum("bl,blc->bc", sample, every)
        task = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(Y, output))
        loss = 0.7 * sandwich + 1.5 * task + 2 * tf.abs(spent - target)
    variables = [v.value for v in twin.gate_variables]
    for variable, gradient, trained in zip(
        variables, tape.gradient(loss, variables), model.gate_variables, strict=True
    ):
        close(trained, variable - 0.1 * gradient, tolerance=1e-5)
    for name, value in {"sandwich": sandwich, "task": task}.items():
        assert logs[f"{name}_loss"] == pytest.approx(float(value), rel=1e-4)
    assert logs["sampled_fraction"] == pytest.approx(float(spent), rel=1e-4)
    assert logs["easy_share"] == pytest.approx(easy.mean())


def test_balanced_weights_follow_a_running_share():
    trainer, easy = make(pair()), tf.constant([1.0, 1, 1, 0])
    close(trainer.running_share(easy), 0.5125, tolerance=1e-6)
    for _ in range(200):
        share = trainer.running_share(easy)
    close(share, 0.75, tolerance=1e-3)


@pytest.mark.parametrize("target", [0.79, pytest.param(0.97, marks=pytest.mark.slow)])
def test_the_budget_drives_the_mix(target):
    trainer = GateTrainer(nano(), target=target, sandwich_weight=0.0, task_weight=0.0, budget_weight=20.0)
    trainer.compile(keras.optimizers.Adam(0.05))
    history = trainer.fit(images(200), np.zeros(200, int), batch_size=100, epochs=30, verbose=0).history
    assert history["sampled_fraction"][-1] == pytest.approx(target, abs=0.02)


@pytest.mark.slow  # a step by hand: above
def test_sandwich_targets_are_learned():
    """Easy images are dark, hard ones bright: the gate tells them apart."""
    model = nano(gate_hidden=8)
    x, easy = images(120), np.arange(120) % 2 == 0
    x[easy] /= 8
    small = np.argmax(model(x, level=0), 1)
    labels = np.where(easy, small, (small + 1) % 3)
    trainer = GateTrainer(model, target=None, task_weight=0.0)
    trainer.compile(keras.optimizers.Adam(0.02))
    trainer.fit(x, labels, batch_size=40, epochs=40, verbose=0)
    assert np.mean((np.argmax(model.route(x), 1) == 0) == easy) > 0.85


def test_training_is_a_function_of_the_seed():
    def run(seed, eager=False):
        model = pair()
        make(model, seed=seed, eager=eager).fit(X, Y, batch_size=8, shuffle=False, verbose=0)
        return [np.array(v.value) for v in model.gate_variables]

    first, again, other = run(1), run(1), run(2, eager=True)
    for a, b in zip(first, again, strict=True):
        same(a, b)
    assert max(np.abs(a - b).max() for a, b in zip(first, other, strict=True)) > 1e-3


@pytest.fixture(scope="module")
def untrained():
    """Three levels: do not change it."""
    return nano()


@pytest.mark.parametrize("target", [0.0, 0.05, 1.5])
def test_target_out_of_range_names_the_interval(untrained, target):
    trainer = GateTrainer(untrained, target=None)
    low, high = trainer.relative_costs[0], trainer.relative_costs[-1]
    with pytest.raises(ValueError, match=rf"target must be .*{low:.3f}.*{high:.3f}.*received {target}"):
        GateTrainer(untrained, target=target)


def test_weighted_images_are_stage_1s():
    with pytest.raises(ValueError, match="sample_weight and class_weight are Stage I's"):
        make(pair()).train_on_batch(X, Y, sample_weight=np.ones(24))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("temperature", 0.0, "positive"), ("task_weight", -1.0, "at least 0"), ("budget_weight", -1.0, "at least 0")],
)
def test_bad_arguments(untrained, name, value, allowed):
    with pytest.raises(ValueError, match=f"{name} must be {allowed}, received {value}"):
        GateTrainer(untrained, target=None, **{name: value})
