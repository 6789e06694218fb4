import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano, pair, same, snapshot

from ds_keras.layers import SliceableBatchNormalization
from ds_keras.models.mobilenet import Stage
from ds_keras.training import SupernetTrainer, losses

X, Y = images(24), np.arange(24) % 3
# A teacher that is wider in the stem and in stage 1.
WIDE = {
    "stem": (4, 6),
    "stages": (Stage(6, 1, teacher=8), Stage((4, 6, 8), 1, 2, gate=True), Stage((4, 8, 12), 1)),
}


def make(model, optimizer=None, levels_drawn=None, eager=True, **kwargs):
    """Eager, because tracing takes longer than a few steps; the tests of ``fit`` run the graph."""
    trainer = SupernetTrainer(model, **kwargs)
    trainer.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), run_eagerly=eager)
    if levels_drawn:
        trainer.draw_levels = lambda: list(levels_drawn)
    return trainer


def step(trainer, i=0):
    picks = np.arange(8 * i, 8 * i + 8) % 24
    return trainer.train_on_batch(X[picks], Y[picks], return_dict=True)


@pytest.fixture(scope="module")
def untrained():
    """Three levels: do not change it."""
    return nano()


def softmax(logits):
    return tf.stop_gradient(tf.nn.softmax(logits))


def by_hand(model, objective, hard, decay, rate):
    """One SGD step of the sandwich [largest, 1, 0], on one tape, with the public ``model(x, level=)``."""
    x, teacher = X[:8], model.clone()
    truth = losses.smooth_labels(Y[:8], 3, 0.1)
    full = softmax(teacher(x, level=teacher.teacher_level))
    with tf.GradientTape() as tape:
        largest = model(x, level=model.teacher_level, training=True)
        soft = {"ce": truth, "inplace": softmax(largest), "ib": full}[objective]
        loss = losses.cross_entropy(truth, largest)
        for level in (1, 0):
            target = hard * truth + (1 - hard) * soft
            loss += losses.cross_entropy(target, model(x, level=level, training=True))
        kernels = [v for v in model.supernet_variables if len(v.shape) > 1]
        loss += decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(v)) for v in kernels])
        variables = [v.value for v in model.supernet_variables]
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(model.supernet_variables, gradients, strict=True):
        variable.assign_sub(rate * gradient)


@pytest.mark.parametrize(
    ("layout", "objective", "hard"),
    [
        pytest.param({}, "ce", 0.0, id="ce", marks=pytest.mark.slow),  # of a rounded network: test_quantized.py
        pytest.param({}, "inplace", 0.3, id="inplace"),
        pytest.param({}, "ib", 0.3, id="ib", marks=pytest.mark.slow),
        pytest.param(WIDE, "ib", 0.3, id="wide"),
    ],
)
def test_a_step_equals_one_big_tape(layout, objective, hard):
    model, twin = nano(**layout), nano(**layout)
    levels = [model.teacher_level.index, 1, 0]
    options = {"objective": objective, "hard_label_weight": hard, "weight_decay": 1e-2}
    step(make(model, keras.optimizers.SGD(0.1), levels, num_random=1, **options))
    before = snapshot(twin)
    by_hand(twin, objective, hard, 1e-2, 0.1)
    for a, b in zip(model.supernet_variables, twin.supernet_variables, strict=True):
        close(a, b, tolerance=1e-5)
        assert np.abs(array(b) - before[b.path]).max() > 1e-5, b.path
    for a, b in zip(model.weights, twin.weights, strict=True):
        if a.path.split("/")[-1].startswith("moving") and a.shape[0] >= 3:
            close(a, b, tolerance=1e-5)


@pytest.mark.parametrize("layout", [pytest.param({}, id="same", marks=pytest.mark.slow), pytest.param(WIDE, id="wide")])
def test_every_level_may_run_in_every_step(layout, untrained):
    """Without a draw: the step is that of a draw that happens to hold all levels, and the graph has no branches."""
    model, twin = nano(**layout), nano(**layout)
    options = {"objective": "ce", "weight_decay": 0.0}
    every = sorted({model.teacher_level.index, 0, 1, 2}, reverse=True)
    trainer = make(model, keras.optimizers.SGD(0.1), num_random=None, **options)
    assert trainer.draw_levels() == every
    step(trainer)
    step(make(twin, keras.optimizers.SGD(0.1), every, num_random=2, **options))
    for a, b in zip(model.weights, twin.weights, strict=True):
        same(a, b)
    assert make(untrained, num_random=None, levels=[0, 2]).draw_levels() == [2, 0]
    assert make(untrained, num_random=None, levels=[1]).draw_levels() == [1]


def test_the_sandwich_without_a_drawn_level():
    model = nano()
    before = snapshot(model)
    logs = step(make(model, num_random=0))
    assert set(logs) == {"largest_loss", "smallest_loss", "largest_accuracy"}
    assert all(np.isfinite(value) for value in logs.values())
    norm = model.blocks[-1].norm2
    rows = np.any(array(norm.moving_mean) != before[norm.moving_mean.path], axis=1)
    assert rows.tolist() == [True, False, True]


def test_views_match_the_mean_of_the_teacher():
    """Multi-view consistency by hand: passes see views 0, 1, 0; all match the teacher's mean over both views."""
    model, twin = nano(residual=True), nano(residual=True)
    freeze_batch_norm(model, twin)
    views = np.stack([X[:8], X[8:16]], axis=1)
    options = {"objective": "mvco", "hard_label_weight": 0.3, "weight_decay": 0.0, "num_random": 1}
    trainer = make(model, keras.optimizers.SGD(0.1), [2, 1, 0], **options)
    trainer.train_on_batch(views, Y[:8])

    truth = losses.smooth_labels(Y[:8], 3, 0.1)
    target = 0.3 * truth + 0.7 * sum(softmax(twin(views[:, v], level=2)) for v in (0, 1)) / 2
    variables = [v.value for v in twin.supernet_variables]
    with tf.GradientTape() as tape:
        loss = 0.0
        for level, view in zip((2, 1, 0), (0, 1, 0), strict=True):
            loss += losses.cross_entropy(target, twin(views[:, view], level=level, training=True))
    for variable, gradient in zip(twin.supernet_variables, tape.gradient(loss, variables), strict=True):
        variable.assign_sub(0.1 * gradient)
    for a, b in zip(model.supernet_variables, twin.supernet_variables, strict=True):
        close(a, b, tolerance=1e-5)


def freeze_batch_norm(*models):
    """Batches of one view and of both then give the same features: what is left is the arithmetic of the step."""
    for model in models:
        for layer in model._flatten_layers():
            if isinstance(layer, SliceableBatchNormalization):
                layer.call = lambda x, level, training=False, call=layer.call: call(x, level=level)


def test_views_come_from_the_pipeline():
    """A batch of one view is refused with the argument that gives more."""
    trainer = make(pair(), objective="mvco", eager=True)
    assert trainer.views == 2 and trainer.targets.hard_label_weight == 0.5
    with pytest.raises(ValueError, match=r"views=2, .*give views= to ds_keras\.data\.batches"):
        trainer.train_on_batch(X[:8], Y[:8])
    assert make(pair(), objective="mvco", levels=[1]).views == 1


def test_drawn_levels_cover_the_candidates():
    trainer = make(nano(), num_random=2, objective="ce")
    drawn = []
    for i in range(20):
        trainer.optimizer.iterations.assign(i)
        first, *middle, last = trainer.draw_levels()
        assert (first, last) == (2, 0)
        drawn.append(tuple(int(level.tensor) for level in middle))
    assert {level for pair in drawn for level in pair} == {0, 1, 2}
    assert len(set(drawn)) > 3


def test_teacher_is_the_moving_average():
    model = pair()
    trainer = make(model, ema_decay=0.15)
    expected = snapshot(trainer.teacher)
    for path, value in snapshot(model).items():
        same(expected[path.replace(model.name, trainer.teacher.name, 1)], value)
    for i in range(2):
        step(trainer, i)
        decay = min(0.15, (2 + i) / (11 + i))  # 0.15 and 3 / 12: warm-up does not bind in the second step
        for path, value in snapshot(model).items():
            path = path.replace(model.name, trainer.teacher.name, 1)
            expected[path] = decay * expected[path] + (1 - decay) * value
    for path, value in snapshot(trainer.teacher).items():
        close(value, expected[path], tolerance=1e-5)
    assert not trainer.teacher.trainable_variables


def test_distillation_starts_late():
    """Until ``distill_start`` the others learn the labels; ``distill_start=1`` differs from the second step on."""
    models = pair(), pair()
    trainers = make(models[0], objective="ce"), make(models[1], objective="ib", distill_start=1)
    differences = []
    for i in range(2):
        for trainer in trainers:
            step(trainer, i)
        pairs = zip(*(model.weights for model in models), strict=True)
        differences.append(max(np.abs(array(a) - array(b)).max() for a, b in pairs))
    assert differences[0] < 1e-6 and differences[1] > 1e-4


def test_dropout_acts_in_the_largest_pass_only():
    model = pair(dropout=0.5)
    for level, differs in ((0, False), (1, True)):
        a, b = (np.array(model(X, level=level, training=True)) for _ in range(2))
        assert (np.abs(a - b).max() > 1e-3) == differs
    same(model(X, level=1), model(X, level=1))


@pytest.mark.parametrize(
    ("dropout", "objective", "eager"), [pytest.param(0.0, "ce", False, marks=pytest.mark.slow), (0.3, "ib", True)]
)
def test_training_is_a_function_of_the_seed(dropout, objective, eager):
    def run(seed, eager=eager):
        model = pair(dropout=dropout)
        trainer = make(model, num_random=1, seed=seed, eager=eager, objective=objective)
        trainer.fit(X[:16], Y[:16], batch_size=8, epochs=1, shuffle=False, verbose=0)
        return model.get_weights()

    first, again, other = run(1), run(1), run(2, eager=True)
    for a, b in zip(first, again, strict=True):
        same(a, b)
    assert max(np.abs(a - b).max() for a, b in zip(first, other, strict=True)) > 1e-3


def test_a_wider_teacher_trains():
    model = nano(**WIDE)
    before, small = snapshot(model), array(model(X, level=2))
    trainer = make(model, num_random=1)
    step(trainer)
    kernel, old = array(model.stem.kernel), before[model.stem.kernel.path]
    assert np.all(kernel[..., 4:] != old[..., 4:])
    assert model.stem_norm.moving_mean.shape == (2, 6)
    assert np.all(array(model.stem_norm.moving_mean)[1] != before[model.stem_norm.moving_mean.path][1])
    assert np.abs(model(X, level=2) - small).max() > 1e-3
    assert trainer.teacher.stem.kernel.shape == (3, 3, 1, 6)


def test_fit_learns_and_reports_every_level():
    """Brightness decides the class: a few epochs lower the loss."""
    x = X * 0 + 100.0 * Y[:, None, None, None].astype("float32") + X / 10
    model = pair(default_policy="cascade")
    trainer = make(model, keras.optimizers.Adam(0.01), eager=False)
    validation = {"validation_data": (x, Y), "validation_freq": 15}
    history = trainer.fit(x, Y, batch_size=8, epochs=15, verbose=0, **validation).history
    assert history["largest_loss"][-1] < 0.8 * history["largest_loss"][0]
    assert history["largest_accuracy"][-1] > 0.8
    logs = {name: values[-1] for name, values in history.items()}
    for level in range(2):
        right = np.argmax(model(x, level=level), 1) == Y
        assert logs[f"val_level{level}_accuracy"] == pytest.approx(right.mean())
        share = np.mean(np.argmax(model.route(x), 1) == level)
        assert logs[f"val_gate_mix{level}"] == pytest.approx(share)
    routed = model.predict_routed(x)
    assert logs["val_routed_accuracy"] == pytest.approx(np.mean(routed.logits.argmax(1) == Y))
    assert logs["val_routed_madds"] == pytest.approx(routed.madds.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "kd"}, "objective must be one of"),
        ({"label_smoothing": 1.5}, "label_smoothing must be in"),
        ({"hard_label_weight": -0.1}, "hard_label_weight must be in"),
        ({"ema_decay": 1.0}, "ema_decay must be in"),
        ({"num_random": -1}, "num_random"),
        ({"num_random": 1.5}, "num_random must be an integer"),
        ({"distill_start": -5}, "distill_start must be an integer of at least 0, received -5"),
        ({"label_smoothing": 1}, r"label_smoothing must be in \[0, 1\), received 1"),
        ({"teacher": "next"}, "teacher belongs to 'distill', received 'next' with 'ib'"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, received -1.0"),
        ({"weight_decay": float("nan")}, "weight_decay must be at least 0, received nan"),
        ({"levels": []}, "levels must name at least one level"),
        ({"levels": [3]}, "level must be an integer"),
    ],
)
def test_bad_arguments(untrained, arguments, message):
    with pytest.raises(ValueError, match=message):
        SupernetTrainer(untrained, **arguments)


def test_compile_errors(untrained):
    trainer = SupernetTrainer(untrained, objective="ce")
    part = SupernetTrainer(untrained, objective="ce", levels=[0, 1])
    with pytest.raises(ValueError, match=r"optimizer.weight_decay must be 0 where a part .* received 0.004"):
        part.compile(keras.optimizers.AdamW())
    for argument in ({"loss": "mse"}, {"metrics": ["accuracy"]}):
        with pytest.raises(ValueError, match="its own losses and metrics"):
            trainer.compile("sgd", **argument)
    with pytest.raises(ValueError, match="optimizer.use_ema must be False, received True"):
        trainer.compile(keras.optimizers.SGD(0.1, use_ema=True))
    with pytest.raises(ValueError, match="must be a ds_keras Supernet, received Sequential"):
        SupernetTrainer(keras.Sequential())


def test_a_part_of_the_levels_reports_these_alone(untrained):
    whole = make(untrained).evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)
    trainer = make(untrained, levels=[2, 0, 2], num_random=None)
    part = trainer.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)
    assert part == {name: whole[name] for name in ("level0_accuracy", "level2_accuracy")}
    assert "routed_accuracy" in make(untrained, levels=[0, 1, 2]).evaluate(X, Y, verbose=0, return_dict=True)


def test_weighted_images():
    """Weights scale what each image adds to every pass; ``class_weight`` is Keras' way to write them."""

    def moved(**weights):
        model = pair(bn_momentum=1.0)
        before = array(model.classifier.kernel)
        trainer = make(model, keras.optimizers.SGD(1.0), objective="ce", weight_decay=0.0, num_random=0)
        trainer.train_on_batch(X[:8], Y[:8], **weights)
        return array(model.classifier.kernel) - before

    whole, odd = moved(), np.arange(8) % 2.0
    halves = moved(sample_weight=odd), moved(sample_weight=1 - odd)
    assert not moved(sample_weight=np.zeros(8)).any() and all(np.abs(half).max() > 0 for half in halves)
    close(sum(halves), whole)
    by_class = {0: 3.0, 1: 0.0, 2: 1.0}
    same(moved(class_weight=by_class), moved(sample_weight=np.array([by_class[y] for y in Y[:8]])))


def test_a_class_that_is_not_there():
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels must be classes in \[0, 2\]"):
        make(pair()).train_on_batch(X, Y + 1)


def test_validation_follows_the_policy_and_takes_soft_labels():
    """What was traced under another policy is traced anew."""
    model = pair(default_policy="cascade")
    trainer, soft = make(model, eager=False), np.eye(3, dtype="float32")[Y]
    first = trainer.evaluate(X, soft, verbose=0, return_dict=True)
    assert first == pytest.approx(trainer.evaluate(X, Y, verbose=0, return_dict=True))
    model.default_policy = 0
    found = trainer.evaluate(X, Y, verbose=0, return_dict=True)
    assert found["routed_madds"] == pytest.approx(model.predict_routed(X).madds.mean(), rel=1e-5)
    assert found["routed_accuracy"] == pytest.approx(found["level0_accuracy"]) != first["routed_accuracy"]


def test_float16_counts_its_steps_and_scales_its_loss():
    """Keras wraps the optimizer of a float16 model; the model's own policy says so, whatever the global one."""
    model = pair(dtype="mixed_float16")
    trainer = make(model, keras.optimizers.SGD(0.01), num_random=1)
    assert isinstance(trainer.optimizer, keras.optimizers.LossScaleOptimizer)
    trainer.optimizer.dynamic_scale.assign(1.0)
    seeds = []
    for i in range(2):
        seeds.append(tuple(array(trainer.step_seed(0)).tolist()))
        step(trainer, i)
    assert int(trainer.step) == 2 and len(set(seeds)) == 2


def test_accumulated_gradients():
    """Weights move every second step; every step has draws of its own, and its own rate."""
    model = pair()
    rate = keras.optimizers.schedules.PolynomialDecay(0.1, 8)
    optimizer = keras.optimizers.SGD(rate, gradient_accumulation_steps=2)
    trainer = make(model, optimizer, num_random=1)
    seeds, moved = [], []
    for i in range(4):
        seeds.append(array(trainer.step_seed(0)).tolist())
        before = snapshot(model)
        trainer.fit(X[:8], Y[:8], batch_size=8, verbose=0)
        weights = {v.path for v in model.supernet_variables}
        moved.append(any(not np.array_equal(v, before[p]) for p, v in snapshot(model).items() if p in weights))
        assert int(trainer.step) == i + 1
    assert len({tuple(seed) for seed in seeds}) == 4
    assert moved == [False, True, False, True]
