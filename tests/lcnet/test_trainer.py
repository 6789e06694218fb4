"""LCTrainer: the budget is met, images differ, gradients go where they should."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano, nano_lc, same, snapshot, without_tracing

from ds_keras import zoo
from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.experiments.checkpoint import save_checkpoint
from ds_keras.experiments.runner import run
from ds_keras.lcnet.model import LCStage
from ds_keras.lcnet.predictor import SPEED
from ds_keras.lcnet.skipping import in_full
from ds_keras.lcnet.trainer import REACH, runs
from ds_keras.models import LCResNet
from ds_keras.training import LCTrainer

X, Y = images(48), np.arange(48) % 3


ONE = (LCStage(8, 1),)  # block
TWO = (LCStage(8, 1), LCStage(16, 1, 2))


def fresh(stages=TWO, **kwargs):
    keras.utils.set_random_seed(0)
    return LCResNet(8, stages, 3, (8, 8, 1), 3, 1, False, "basic", groups=2, **kwargs)


def test_without_a_target_the_predictors_stay_and_everything_runs():
    model = fresh()
    trainer = LCTrainer(model, target=None)
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)  # tracing takes longer than a few steps
    before = [array(v) for v in model.predictors]
    history = trainer.fit(X, Y, batch_size=16, epochs=2, verbose=0).history
    for variable, value in zip(model.predictors, before, strict=True):
        same(variable, value)
    assert history["task_loss"][-1] < history["task_loss"][0]
    assert history["train_madds"] == [1.0] * 2
    assert np.all(model.run(X).scales == 1)
    for variable in model.predictors:
        variable.assign(variable - 2)  # what the predictors say does not count here
    assert model.run(X).scales.max() == 0
    close(trainer.predict(X, verbose=0), model.run(X, scales=np.ones((48, 6))).logits)


def test_units_run_at_random_without_a_target():
    model = fresh()
    trainer = LCTrainer(model, target=None, keep=0.4)
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    scales = array(trainer.drawn(4000))
    assert set(np.unique(scales)) == {0, 1} and abs(scales.mean() - 0.7) < 0.01
    by_share = 6 * 0.7 * 0.3 + 30 * 0.6**2 / 12  # of the units of an image: a share of its own, then each unit by it
    assert abs(scales.sum(axis=1).var() - by_share) < 0.15
    same(trainer.drawn(4000), scales)
    history = trainer.fit(X, Y, batch_size=16, epochs=1, verbose=0).history
    assert 0.2 < history["train_madds"][0] < 0.9
    assert not np.array_equal(trainer.drawn(4000), scales)  # of another step
    assert trainer.evaluate(X, Y, verbose=0, return_dict=True)["madds"] == 1


def test_predictors_alone():
    model = fresh()
    trainer = LCTrainer(model, target=0.5, train_network=False)
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    own = {v.path for v in model.predictors}
    before = snapshot(model)
    trainer.fit(X, Y, batch_size=16, epochs=1, verbose=0)
    moved = {path for path, value in snapshot(model).items() if not np.array_equal(value, before[path])}
    assert moved and all(path in own or "moving_" in path for path in moved)


@pytest.mark.slow  # towards a budget, from below: test_what_was_given_up_comes_back
def test_the_budget_is_met_and_spent_differently():
    model = fresh()
    trainer = LCTrainer(model, target=0.6, anneal=60)
    trainer.compile(keras.optimizers.Adam(1e-2))
    labels = (X.mean(axis=(1, 2, 3)) > 127).astype(int) + (X.std(axis=(1, 2, 3)) > 40)
    trainer.fit(X, labels, batch_size=16, epochs=50, verbose=0)
    assert trainer.calibrate([X]) == 1
    found = trainer.evaluate(X, labels, verbose=0, return_dict=True)
    assert abs(found["madds"] - 0.6) < 0.1
    close(model.run(X).madds.mean() / model.madds, found["madds"])


@pytest.fixture(scope="module")
def untrained():
    """Do not change it."""
    return fresh()


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("blocks", "groups")]


@pytest.mark.parametrize("off", ["both", *SLOW])
def test_what_was_given_up_comes_back(off):
    """A network that runs next to nothing is below its target: the price is negative until it runs enough."""
    model = fresh()
    trainer = LCTrainer(model, target=0.8, weight_decay=0.0)
    for block in model.blocks:
        away = {"blocks": [-0.05, 1, 1], "groups": [1, -0.05, -0.05], "both": [-0.05] * 3}[off]
        block.predictor.bias.assign((np.array(away) - 1) / SPEED)
    trainer.compile(keras.optimizers.Adam(1e-2))
    first = float(tf.reduce_mean(model.spent(tf.cast(model.forward(X, in_full)[1] > 0, tf.float32))))
    history = trainer.fit(X, Y, batch_size=16, epochs=20, verbose=0).history
    assert first < 0.1 and history["price"][0] < 0
    assert abs(history["train_madds"][-1] - 0.8) < 0.15


def test_the_goal_falls_step_by_step():
    trainer = LCTrainer(fresh(ONE), target=0.6, anneal=3)
    trainer.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    goals = []
    for _ in range(6):
        goals.append(float(trainer.goal()))
        trainer.train_on_batch(X[:16], Y[:16])
    close(goals, [0.9, 0.8, 0.7, 0.6, 0.6, 0.6])


def test_the_budget_moves_what_has_no_gradient_of_its_own():
    predicted = tf.constant([[-1.0, -0.2, 0.3, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch(predicted)
        on = runs(predicted)
        total = tf.reduce_sum(on)
    same(on, [[0.0, 0.0, 1.0, 1.0]])
    same(tape.gradient(total, predicted), [[0.0, 1.0, 1.0, 1.0]])
    assert -1.0 < -REACH < -0.2


def test_statistics_are_the_mean_over_batches():
    model = nano_lc()
    trainer, before = LCTrainer(model), snapshot(model)
    assert trainer.calibrate([(X[:24], Y[:24]), X[24:]]) == 2
    moved = {path for path, value in snapshot(model).items() if not np.array_equal(value, before[path])}
    assert len(moved) == 2 * len(model.norms) and all("moving_" in path for path in moved)
    stem = tf.stack([model.stem[0](model.rescale(x)) for x in (X[:24], X[24:])])
    close(model.norms[0].moving_mean, tf.reduce_mean(stem, axis=(0, 1, 2, 3)))
    assert {norm.momentum for norm in model.norms} == {0.9}
    with pytest.raises(ValueError, match="at least one batch"):
        trainer.calibrate([])


def test_decay_is_of_kernels_alone():
    model = fresh()
    trainer = LCTrainer(model, weight_decay=2.0)
    kernels = [layer for block in model.blocks for layer in (block.spatial, block.project, *block.shortcut[:1])]
    kernels = [layer.kernel for layer in (*kernels, model.stem[0], model.classifier)]
    close(trainer.decay(), sum(float(tf.reduce_sum(tf.square(k))) for k in kernels))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target": 0.001}, r"target must be None or lie in \[0\.\d+, 1\], received 0.001"),
        ({"target": 1.5}, "target must be None or lie in"),
        ({"target": True}, "target must be None or lie in"),
        ({"target": "0.5"}, "target must be None or lie in"),
        ({"keep": 0.5}, "keep must be in .* and 1 with a target, received 0.5"),
        ({"target": None, "keep": 0.0}, r"keep must be in \(0, 1\]"),
        ({"target": None, "train_network": False}, "train_network must be True, or False with a target"),
        ({"price_rate": float("nan")}, "at least 0 and finite, received"),
        ({"anneal": True}, "anneal must be an integer of at least 0, received True"),
        ({"anneal": -1}, "anneal must be an integer of at least 0, received -1"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\)"),
        ({"price_rate": -1.0}, "at least 0 and finite, received"),
    ],
)
def test_bad_arguments(untrained, kwargs, message):
    with pytest.raises(ValueError, match=message):
        LCTrainer(untrained, **kwargs)


def tiny_experiment(**kwargs):
    def model(classes, shape):
        return LCResNet(4, ONE, classes, shape, 3, 1, False, "basic", groups=2, name="tiny_lc")

    stages = {name: TrainingStage(1, 0.01, "adam", 128, trainer={"target": target}) for name, target in STAGES.items()}
    return Experiment("tiny_lc", "digits", model, **{**stages, **kwargs}, held_out=200, calibration=(2, 200))


STAGES = {"stage1": None, "stage2": 0.7}  # targets


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of a run, and its metrics."""
    workdir = tmp_path_factory.mktemp("lc") / "whole"
    with without_tracing():
        return workdir, run(tiny_experiment(train_images=256), workdir, "the command", verbose=0)


def test_a_run_ends_with_a_preset(whole):
    workdir, metrics = whole
    assert [row["run"] for row in metrics["runs"]] == ["dynamic", "shuffled", "fixed", "whole"]
    assert zoo.load(workdir / "preset").labels
    assert "the command" in (workdir / "preset/README.md").read_text()


@pytest.mark.slow
def test_a_run_resumes(tmp_path, monkeypatch):
    saved = []

    def dying(directory, *rest):
        save_checkpoint(directory, *rest)
        saved.append(directory.name)
        if saved[-2:] == ["stage2", "stage2"]:
            raise KeyboardInterrupt

    metrics = run(tiny_experiment(), tmp_path / "whole", "the command", verbose=0)
    monkeypatch.setattr("ds_keras.experiments.loop.save_checkpoint", dying)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_experiment(), tmp_path / "resumed", checkpoint_every=2, verbose=0)
    monkeypatch.undo()
    resumed = run(tiny_experiment(), tmp_path / "resumed", "the command", verbose=0)
    for key in ("runs", "units", "spread", "held_out"):
        assert metrics[key] == resumed[key]
    first, second = (zoo.load(tmp_path / name / "preset") for name in ("whole", "resumed"))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        same(a, b)


@pytest.mark.slow
def test_a_run_without_predictors(tmp_path):
    """A plain ResNet, as a baseline: Stage I alone."""
    metrics = run(tiny_experiment(stage2=None), tmp_path, verbose=0, max_steps=2)
    assert [row["run"] for row in metrics["runs"]][-1] == "whole" and not metrics["complete"]


def test_bad_experiments(tmp_path):
    stages = {"stage1": TrainingStage(1, 0.1, trainer={"target": 0.5})}
    with pytest.raises(ValueError, match="stage1: target must be None, received 0.5"):
        run(tiny_experiment(**stages), tmp_path / "wrong", verbose=0)
    with pytest.raises(ValueError, match="Unrecognized keyword arguments passed to LCTrainer: {'targets': 1}"):
        run(tiny_experiment(stage2=TrainingStage(1, 0.1, trainer={"targets": 1})), tmp_path / "bad", verbose=0)


def test_a_supernet_has_other_trainers():
    with pytest.raises(ValueError, match="model must be a ds_keras LCResNet, received DSMobileNet"):
        LCTrainer(nano())


def test_constant_predictors_see_no_image():
    model = fresh(ONE, constant=True)
    model.build()
    for block in model.blocks:
        block.predictor.bias.assign([0.1, -0.1, -0.3])
    scales = model.run(X).scales
    assert len(np.unique(scales, axis=0)) == 1 and scales.max() == 1 and scales.min() == 0
