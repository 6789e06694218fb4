"""Every level from one traced body, and policies replayed on what the levels said."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images, in_graph, nano, nano_resnet, nano_vit

from ds_keras.core.visitor import Compute
from ds_keras.routing import run
from ds_keras.routing.recorded import Recorded, logits_by_level, replay
from ds_keras.training import GateTrainer, stage2

X = images(8)


@pytest.mark.parametrize("make", [nano, nano_resnet, pytest.param(nano_vit, marks=pytest.mark.slow)])
def test_the_loop_gives_what_each_level_gives(make):
    model = make()
    x = images(8, *model.image_shape[1:])

    @in_graph
    def both(x):
        features, _ = model.start(Compute(0), x)
        return logits_by_level(model, features), logits_by_level(model, features, unrolled=True)

    looped, unrolled = both(tf.constant(x))
    assert looped.shape == (8, len(model.levels), model.num_classes)
    close(looped, unrolled, tolerance=1e-5)
    close(looped[:, 1], model(x, level=1), tolerance=1e-5)


def test_policies_decide_as_they_do_on_images():
    model = nano(cascade=(0, 1, 2))
    features, gate_features = model.start(Compute(0), X)
    recorded = Recorded(logits_by_level(model, features), model.gate(Compute(0), gate_features))
    middle = float(np.median(model.route(X)[:, 2] - model.route(X)[:, 0]))
    for shift, thresholds in ((0.0, [0.5, 0.5]), (middle, [0.2, 0.9]), (1e9, [0.0, 0.0]), (-1e9, [1.1, 1.1])):
        model.gate_shift.assign([shift])
        model.cascade_thresholds.assign(thresholds)
        for policy in ("gate", "cascade", 1):
            expected, found = run(model, X, policy), replay(model, recorded, policy)
            np.testing.assert_array_equal(found.levels, expected.levels)
            close(found.logits, expected.logits, tolerance=1e-5)
            np.testing.assert_allclose(found.madds, expected.madds, rtol=1e-6)


def test_a_step_of_many_levels_and_validation_trace_one_body(monkeypatch):
    model = nano()
    monkeypatch.setattr(stage2, "FEW", 2)  # of which it has one more
    trainer = GateTrainer(model, None)
    trainer.compile("sgd")
    traced, body = [], type(model).body
    monkeypatch.setattr(type(model), "body", lambda *args: traced.append(1) or body(*args))
    for step in (trainer.train_step, trainer.test_step):
        traced.clear()
        tf.function(step, autograph=False).get_concrete_function((tf.constant(X), tf.zeros(8, tf.int32)))
        assert len(traced) == 1
