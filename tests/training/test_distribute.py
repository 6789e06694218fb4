"""Both trainers under MirroredStrategy with two logical CPU devices, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from helpers import images, nano, snapshot
from ds_keras.training import GateTrainer, SupernetTrainer

x, y = images(16), np.arange(16) % 3


def run(make, **options):
    model = nano()
    before = snapshot(model)
    trainer = make(model)
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9), **options)
    logs = trainer.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(16), verbose=0).history
    assert all(np.isfinite(v).all() for v in logs.values()), logs
    for variable in [*model.variables, *trainer.optimizer.variables]:  # alike on both devices
        first, *others = tf.distribute.get_strategy().experimental_local_results(variable.value)
        assert all(np.array_equal(first, other) for other in others), variable.path
    after = snapshot(model)
    assert any(np.any(after[k] != before[k]) for k in after)
    return list(after.values())


strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
for make in (lambda m: SupernetTrainer(m, num_random=1), lambda m: GateTrainer(m, 0.9)):
    with strategy.scope():
        two = run(make)
    for a, b in zip(two, run(make, run_eagerly=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
with strategy.scope():
    run(lambda m: SupernetTrainer(m, num_random=1, synchronized=False))
print("two devices agree with one")
"""


ACCUMULATED = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from helpers import images, pair
from ds_keras.training import SupernetTrainer, distributed

x, y = images(16), np.arange(16) % 3


def made(**options):
    trainer = SupernetTrainer(pair(attention=False), num_random=0)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.5, gradient_accumulation_steps=2)
    trainer.compile(optimizer, **options)
    return trainer


def trained(trainer, steps, last=x):
    data = tf.data.Dataset.from_tensor_slices((x, y)).repeat(steps - 1)
    data = data.concatenate(tf.data.Dataset.from_tensor_slices((last, y)))
    replicas = trainer.distribute_strategy.num_replicas_in_sync
    distributed.fit(trainer, lambda context: data.batch(16 // replicas), steps)


def replicas_of(trainer):
    for variable in [*trainer.variables, *trainer.optimizer.variables]:
        yield variable.path, [v.numpy() for v in strategy.experimental_local_results(variable.value)]


alone = made(run_eagerly=True)
trained(alone, 5)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    trainer = made()
trained(trainer, 5)
for variable, expected in zip(trainer.supernet.variables, alone.supernet.variables, strict=True):
    np.testing.assert_allclose(np.array(variable), np.array(expected), rtol=0, atol=1e-5, err_msg=variable.path)
for path, (first, second) in replicas_of(trainer):
    assert np.array_equal(first, second), path
broken = np.where(np.arange(16)[:, None, None, None] == 12, np.float32("nan"), x)  # the second replica's
try:
    trained(trainer, 1, broken)  # the sixth step would move the weights, by what the fifth has added up
except tf.errors.InvalidArgumentError as error:
    assert "the loss is not finite" in str(error), error
else:
    raise AssertionError("a loss that is not finite was taken")
for variable, expected in zip(trainer.trained_variables, alone.trained_variables, strict=True):
    np.testing.assert_allclose(np.array(variable), np.array(expected), rtol=0, atol=1e-5)
try:
    trainer.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(16), verbose=0)
except ValueError as error:
    assert "must be None in trainer.fit on 2 replicas, received 2: call ds_keras" in str(error), error
else:
    raise AssertionError("fit took it")
print("two devices agree with one")
"""


RECIPE = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from helpers import images, nano_v2, pair, snapshot
from ds_keras.models.inverted import InvertedStage
from ds_keras.convert.importance import order_channels
from ds_keras.core.backend import dtype_policy
from ds_keras.experiments.pretrained import train_head
from ds_keras.training import GateTrainer, SupernetTrainer, distributed

x, y = images(16), np.arange(16) % 3
data = tf.data.Dataset.from_tensor_slices((x, y)).repeat()


def fit(trainer, optimizer):
    trainer.compile(optimizer)
    distributed.fit(trainer, lambda context: data.batch(16 // trainer.distribute_strategy.num_replicas_in_sync), 3)


def photos(shares):
    model = nano_v2(stages=(InvertedStage(6, 1, expansion=1), InvertedStage((4, 8), 1, 2, gate=True)), last=(8, 12))
    train_head(model, data.batch(8).take(2), start=True)
    order_channels(model, "taylor", data.batch(8).take(2))
    arguments = {"num_random": None, "objective": "ce", "frozen_start": True, "fixed_statistics": (1,)}
    trainer = SupernetTrainer(model, shares=shares, **arguments)
    fit(trainer, keras.optimizers.AdamW(1e-3, weight_decay=0.0, global_clipnorm=5.0))
    return list(snapshot(model).values())


def half_precision():
    with dtype_policy("mixed_float16"):
        model = pair()
        fit(SupernetTrainer(model, num_random=0), keras.optimizers.SGD(0.01))
        fit(GateTrainer(model, 0.9), keras.optimizers.SGD(0.01))
    assert all(np.isfinite(array).all() for array in snapshot(model).values())


one = photos(None)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    two = photos(None)
    photos((1.0, 0.5))  # of each replica's part
    half_precision()
for a, b in zip(two, one, strict=True):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
print("two devices agree with one")
"""


SKIPPING = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from helpers import images, nano_lc, snapshot
from ds_keras.training import LCTrainer

x, y = images(16), np.arange(16) % 3
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16).repeat(3)


def trained(**options):
    model = nano_lc()
    trainer = LCTrainer(model, **options)
    trainer.compile(keras.optimizers.SGD(0.01))
    logs = trainer.fit(data, verbose=0).history
    return [*snapshot(model).values(), logs["train_madds"][0], logs["task_loss"][0], np.array(trainer.owed)]


strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for options in ({"target": 0.7}, {"target": None, "keep": 0.4}, {"target": 0.7, "train_network": False}):
    one = trained(**options)
    with strategy.scope():
        two = trained(**options)
    for a, b in zip(two, one, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
print("two devices agree with one")
"""


@pytest.mark.slow
def test_networks_that_skip_on_two_devices():
    """One set of units is drawn for the whole batch, and BatchNorm's statistics are those of all of it."""
    check(SKIPPING)


@pytest.mark.slow
def test_a_step_on_two_devices_equals_a_step_on_one():
    check(SCRIPT)


def test_accumulated_gradients_and_a_loss_that_is_not_finite_on_two_devices():
    """Sums of gradients are alike on both; where one device's loss is not finite, no weight of either moves."""
    check(ACCUMULATED)


@pytest.mark.slow
def test_the_recipe_for_photos_and_half_precision_on_two_devices():
    """A head of its own, ordered channels, a frozen start and kept statistics; shares of each device's part."""
    check(RECIPE)


def check(script):
    """Runs a script in a process of its own, which makes two devices of the CPU."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "two devices agree with one" in result.stdout
