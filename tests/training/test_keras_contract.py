"""What Keras promises of a model holds of networks and trainers: freezing, saving, callbacks, policies, copies."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images, nano, nano_lc, nano_resnet, nano_v2, nano_vit, same, snapshot

from ds_keras.models.mobilenet import Stage
from ds_keras.training import GateTrainer, LCTrainer, SupernetTrainer, calibrate_batch_norm

STAGES = (Stage(6, 1), Stage((4, 12), (1, 2), 2, gate=True))  # two levels, of which one lacks a block
MAKE = {
    "mobilenet": nano,
    "mobilenet_v2": lambda **kwargs: nano_v2(gate_hidden=4, **kwargs),
    "resnet": lambda **kwargs: nano_resnet(stages=STAGES, **kwargs),
    "vit": nano_vit,
    "vit_patches": lambda **kwargs: nano_vit(stem=(), class_token=True, attention=False, gate_hidden=4, **kwargs),
    "lcnet": nano_lc,
}
X, Y = images(16), np.arange(16) % 3
every = pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "resnet" else [pytest.mark.slow]) for kind in MAKE]
)


def stages(model):
    """The trainers of a network."""
    if not hasattr(model, "levels"):
        return [LCTrainer(model)]
    return [SupernetTrainer(model, num_random=1), GateTrainer(model, target=None)]


def train(trainer, **kwargs):
    trainer.compile(keras.optimizers.SGD(0.01), **kwargs)
    trainer.fit(X, Y, batch_size=8, verbose=0, shuffle=False)


def step(trainer):
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    trainer.train_on_batch(X[:8], Y[:8])


def moved(model, before):
    return {path for path, value in snapshot(model).items() if not np.array_equal(value, before[path])}


def logits(model, level=1):
    return np.array(model(X, level=level) if hasattr(model, "levels") else model(X))


@every
def test_only_the_classifier_moves_where_only_it_is_trainable(kind):
    model = MAKE[kind]()
    for layer in model.layers:
        layer.trainable = layer is model.classifier
    before = snapshot(model)
    step(stages(model)[0])
    assert moved(model, before) == {variable.path for variable in model.classifier.weights}


def test_a_frozen_norm_runs_in_inference_mode():
    model = nano()
    model.trainable = False
    before = snapshot(model)
    close(model(X, level=1, training=True), model(X, level=1))
    calibrate_batch_norm(model, [X], levels=[1])
    assert not moved(model, before)


@pytest.mark.parametrize("kind", ["mobilenet", "lcnet"])
def test_nothing_trainable_is_refused_by_name(kind):
    model = MAKE[kind]()
    model.trainable = False
    for trainer in stages(model):
        with pytest.raises(ValueError, match=f"{type(trainer).__name__} has nothing to train: every layer of "):
            trainer.compile("sgd")


def test_xla_needs_levels_that_are_known():
    with pytest.raises(ValueError, match="jit_compile must be False .* num_random=None"):
        SupernetTrainer(nano()).compile("sgd", jit_compile=True)
    trainer = SupernetTrainer(nano())
    trainer.compile("sgd", jit_compile="auto")
    assert not trainer.jit_compile


def trained(make, jit):
    """All weights by path after an epoch, with or without XLA."""
    model = nano()
    trainer = make(model)
    trainer.compile(keras.optimizers.SGD(0.01), jit_compile=jit)
    trainer.fit(X, Y, batch_size=8, verbose=0, shuffle=False, validation_data=(X, Y))
    return by_path(model)


def by_path(model):
    """The weights by path, without the model's name, which Keras numbers."""
    return {path.partition("/")[2]: value for path, value in snapshot(model).items()}


@pytest.mark.slow
def test_xla_trains_as_tensorflow():
    plain, compiled = (trained(lambda model: SupernetTrainer(model, num_random=None), jit) for jit in (False, True))
    for path, value in plain.items():
        close(compiled[path], value, tolerance=1e-3)


@pytest.mark.slow
def test_xla_trains_the_gate_with_noise_of_its_own():
    """From the same seed XLA draws other uniform numbers than TensorFlow, but the same ones each time."""
    seed = tf.constant([0, 0])
    drawn = [
        tf.function(lambda: tf.random.stateless_uniform([8, 3], seed), jit_compile=jit, autograph=False)()
        for jit in (False, True)
    ]
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1
    before, *runs = by_path(nano()), *(trained(lambda model: GateTrainer(model, target=None), True) for _ in range(2))
    moved = [path for path, value in runs[0].items() if not np.array_equal(value, before[path])]
    assert moved and all("gate" in path or "slimming" in path for path in moved)
    for path, value in runs[0].items():
        assert np.isfinite(value).all() and np.array_equal(value, runs[1][path])


@pytest.mark.parametrize("kind", ["mobilenet", "lcnet"])
def test_exports_that_cannot_run_are_refused(kind, tmp_path):
    model = MAKE[kind]()
    for form in ("onnx", "litert"):
        with pytest.raises(ValueError, match=f"received '{form}'; .*ds_keras.export.to_tflite"):
            model.export(tmp_path / "model", format=form)
    with pytest.raises(ValueError, match="a trainer is not exported; .*ds_keras.export.to_tflite"):
        stages(model)[0].export(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["resnet", "lcnet"])
def test_a_saved_model_needs_no_signature(kind, tmp_path):
    model = MAKE[kind]()
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))  # which holds the weights
    close(loaded.serve(tf.constant(X)), model(X))


@pytest.mark.parametrize("kind", ["mobilenet", "lcnet"])
def test_a_network_reads_the_weights_of_its_trainer(kind, tmp_path):
    model, other = MAKE[kind](), MAKE[kind]()
    trainer, file = stages(model)[0], tmp_path / "trainer.weights.h5"
    trainer.save_weights(file)
    for variable in other.weights:
        variable.assign(0 * variable)
    other.load_weights(file)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        same(a, b)
    model.save_weights(tmp_path / "own.weights.h5")
    other.load_weights(tmp_path / "own.weights.h5")
    with pytest.raises(ValueError, match="a trainer is not saved; save its network"):
        trainer.save(tmp_path / "trainer.keras")


def test_callbacks_know_what_is_better(tmp_path):
    trainer = SupernetTrainer(nano(), num_random=1)
    trainer.compile("sgd")
    checks = {"val_routed_accuracy": "max", "val_routed_madds": "min", "largest_loss": "min", "val_gate_mix0": "auto"}
    callbacks = [keras.callbacks.EarlyStopping(monitor=monitor) for monitor in checks]
    trainer._check_callbacks(callbacks)
    assert [callback.mode for callback in callbacks] == list(checks.values())
    file = str(tmp_path / "best.weights.h5")
    best = keras.callbacks.ModelCheckpoint(file, "val_level2_accuracy", save_best_only=True, save_weights_only=True)
    trainer._check_callbacks(keras.callbacks.CallbackList([best]))
    assert best.mode == "max"
    with pytest.raises(ValueError, match="monitor of EarlyStopping must be one of .*val_routed_accuracy.*'val_loss'"):
        trainer.fit(X, Y, callbacks=[keras.callbacks.EarlyStopping()])
    with pytest.raises(ValueError, match="ModelCheckpoint must have save_weights_only=True: a trainer is not saved"):
        trainer.fit(X, Y, callbacks=[keras.callbacks.ModelCheckpoint(str(tmp_path / "trainer.keras"))])


@pytest.mark.slow
def test_the_best_weights_of_a_fit_load_into_the_network(tmp_path):
    model = nano()
    trainer = SupernetTrainer(model, num_random=1)
    trainer.compile(keras.optimizers.SGD(0.01))
    file = str(tmp_path / "best.weights.h5")
    best = keras.callbacks.ModelCheckpoint(file, "val_level2_accuracy", save_best_only=True, save_weights_only=True)
    trainer.fit(X, Y, batch_size=8, verbose=0, validation_data=(X, Y), callbacks=[best])
    other = nano()
    other.load_weights(file)
    same(logits(other), logits(model))


def test_features_of_a_symbolic_tensor():
    model, x = nano(), keras.Input((8, 8, 1))
    found = keras.Model(x, list(model.features(x, level=1).values()))(X)
    for a, b in zip(found, model.features(X, level=1).values(), strict=True):
        close(a, b)
    close(keras.Model(x, model(x, level=1))(X), logits(model))


@every
@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_mixed_precision_trains(kind, policy):
    model = MAKE[kind](dtype=policy)
    for trainer in stages(model):
        before = snapshot(model)
        step(trainer)
        if policy == "mixed_float16":
            # Each step that overflows halves the scale of the loss: here one that does not.
            trainer.optimizer.dynamic_scale.assign(2.0**6)
            trainer.train_on_batch(X[:8], Y[:8])
        assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
        assert {variable.path for variable in trainer.trained_variables} & moved(model, before)
        assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"steps_per_execution": 2}], ids=["eager", "two_steps"])
def test_ways_to_run_give_the_same_weights(kind, how):
    found = []
    for options in ({}, how):
        model = MAKE[kind]()
        for trainer in stages(model):
            train(trainer, **options)
        found.append(snapshot(model))
    for a, b in zip(found[0].values(), found[1].values(), strict=True):
        close(a, b, tolerance=1e-3)


@every
def test_freezing_between_fits(kind):
    model = MAKE[kind]()
    trainer = stages(model)[0]
    step(trainer)
    model.classifier.trainable = False
    before = snapshot(model)
    step(trainer)
    changed = moved(model, before)
    assert changed and not changed & {variable.path for variable in model.classifier.weights}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKE)
def test_op_determinism(kind):
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()  # for the rest of the process, as the tests of experiments do
    found = []
    for _ in range(2):
        model = MAKE[kind]()
        for trainer in stages(model):
            train(trainer)
        found.append(snapshot(model))
    for a, b in zip(found[0].values(), found[1].values(), strict=True):
        same(a, b)


COPIES = {
    "deepcopy": copy.deepcopy,
    "clone": lambda model: model.clone(),
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@every
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_has_its_own_weights(kind, how):
    model = MAKE[kind]()
    twin = COPIES[how](model)
    expected = logits(model)
    same(logits(twin), expected)
    twin.classifier.kernel.assign(0 * twin.classifier.kernel)
    same(logits(model), expected)
