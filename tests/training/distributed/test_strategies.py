"""Strategies by name, what replicas agree on, and the watch over other workers; without other processes."""

import json
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import nano

from ds_keras.training import SupernetTrainer
from ds_keras.training.base import Trainer
from ds_keras.training.distributed import fit, gradients, job, make_strategy, norms, shares_work, strategies, workers

CLUSTER = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def test_names():
    one = make_strategy("one_device")
    assert one is tf.distribute.get_strategy() and not shares_work(one)
    with job(one):
        assert strategies.is_chief(one)
    with pytest.raises(ValueError, match=r"strategy must be one of one_device, mirrored, multi_worker, received 'tpu'"):
        make_strategy("tpu")


def test_workers_of_tf_config(monkeypatch):
    for wrong in ("", "{", "[]", json.dumps({**CLUSTER, "task": {"type": "worker", "index": 2}})):
        monkeypatch.setenv("TF_CONFIG", wrong)
        with pytest.raises(ValueError, match=r"TF_CONFIG must be JSON such as .*received"):
            make_strategy("multi_worker")
    monkeypatch.setenv("TF_CONFIG", json.dumps(CLUSTER))
    assert strategies.workers() == (["a:1", "b:2"], 1)
    chief = {"cluster": {"chief": ["c:0"], "worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(chief))
    assert strategies.workers() == (["c:0", "a:1"], 1)


def test_every_worker_has_a_part(monkeypatch):
    monkeypatch.setattr(workers, "several_workers", lambda strategy: True)
    parts = []
    for place in range(3):
        monkeypatch.setattr(workers, "workers", lambda place=place: ("abc", place))
        parts.append(workers.part_of(None, 10))
        assert workers.part_of(None, 2) == (0, 2)
    assert parts == [(0, 3), (3, 6), (6, 10)]


def test_the_watch_names_a_worker_that_is_gone(monkeypatch):
    monkeypatch.setattr(workers, "EVERY", 0.01)
    with socket.create_server(("localhost", 0)) as there:
        address = f"localhost:{there.getsockname()[1]}"
        assert workers.Watch([address, "unused:1"], 1).look() is None
    said = workers.Watch(["unused:1", address], 0).look()
    assert said.startswith(f"worker 1 ({address}) is gone, so the job ends; start all workers again")


def test_an_error_in_a_step_names_the_worker_that_is_gone(monkeypatch, capsys):
    monkeypatch.setattr(workers, "EVERY", 0.01)
    monkeypatch.setattr(workers, "several_workers", lambda strategy: True)
    with socket.create_server(("localhost", 0)) as there:
        address = f"localhost:{there.getsockname()[1]}"
    monkeypatch.setattr(workers, "workers", lambda: ([address, "unused:1"], 1))

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(workers.os, "_exit", leave)
    with pytest.raises(SystemExit, match="1"), job(None):
        raise tf.errors.UnavailableError(None, None, "collective aborted")
    assert f"error: worker 0 ({address}) is gone" in capsys.readouterr().err


@pytest.mark.parametrize("bound", [{"global_clipnorm": 1.0}, {"clipnorm": 0.5}, {"clipvalue": 0.3}])
def test_the_whole_gradient_is_clipped(monkeypatch, bound, rng):
    """Of two replicas, whose sum the optimizer makes: here of equal parts."""
    whole = [rng.normal(size=shape).astype("float32") for shape in ((3, 4), (5,))]
    variables = [keras.Variable(np.zeros_like(part)) for part in whole]
    keras.optimizers.SGD(1.0, **bound).apply([tf.constant(part) for part in whole], variables)
    monkeypatch.setattr(gradients, "replicas", lambda: 2)
    monkeypatch.setattr(gradients, "sum_over_replicas", lambda parts: [2 * part for part in parts])
    optimizer = keras.optimizers.SGD(1.0, **bound)
    given = gradients.same_on_all_replicas(optimizer, [tf.constant(part / 2) for part in whole])
    for variable, part in zip(variables, optimizer._clip_gradients(given), strict=True):
        np.testing.assert_allclose(-2 * part, variable, rtol=1e-5)


def test_refusals(monkeypatch):
    monkeypatch.setattr(gradients, "replicas", lambda: 2)
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=3)
    with pytest.raises(
        ValueError, match=r"gradient_accumulation_steps must be None in trainer.fit on 2 replicas, .* 3"
    ):
        gradients.apply(optimizer, [], [])
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps must be None with mixed_float16 on 2 replicas"):
        gradients.apply(scaled, [], [], updates=True)
    trainer = SupernetTrainer(nano())
    with pytest.raises(ValueError, match=r"steps must be a positive integer, received 0"):
        fit(trainer, None, 0)
    trainer.norms.depth_varies = True
    monkeypatch.setattr(norms, "replicas", lambda: 2)
    with pytest.raises(ValueError, match=r"num_random must be None, or synchronized=False, on several replicas"):
        trainer.norms.check_drawn()
    several = tf.distribute.MultiWorkerMirroredStrategy.__new__(tf.distribute.MultiWorkerMirroredStrategy)
    monkeypatch.setattr(Trainer, "distribute_strategy", several)
    with pytest.raises(ValueError, match=r"SupernetTrainer.fit does not run under MultiWorkerMirrored.*20585"):
        trainer.fit([])
