"""Training of a detector: what a step moves, the moving average, a run that is killed and goes on."""

import keras
import numpy as np
import pytest

from ds_keras.detection import DetectorTrainer, run
from ds_keras.detection import trainer as trainer_module
from ds_keras.detection.data import pipeline
from ds_keras.experiments import loop
from tests.detection import scenes


def test_a_step_moves_what_it_trains_and_its_average_is_kept(monkeypatch):
    keras.utils.set_random_seed(0)
    source, model = scenes.source(2, size=(64, 64)), scenes.detector()
    model.build()
    trainer = DetectorTrainer(model, distill_start=1, shares=(1, 0.5), class_weights=(1.0, 2.0))
    trainer.compile(trainer.make_optimizer(1e-2))
    before = [(v, v.numpy().copy()) for v in model.trainable_variables]
    moved = {id(v) for v in trainer.trained_variables}
    batch = next(iter(pipeline.batches(source, 2, 64, augment=False)))
    for _ in range(2):  # not in a graph: tracing takes longer
        figures = trainer.train_step(batch)
    assert np.isfinite([float(value) for value in figures.values()]).all()
    for variable, old in before:
        assert np.array_equal(variable, old) == (id(variable) not in moved), variable.path
    thawed = DetectorTrainer(model, frozen_start=False).trained_variables
    assert {id(v) for v in thawed} > moved
    averaged = [value.copy() for value in trainer.average.get_weights()]
    assert not all(np.array_equal(value, weight) for value, weight in zip(averaged, model.get_weights(), strict=True))
    monkeypatch.setattr(trainer_module, "calibrate_batch_norm", lambda *_, **__: None)
    trainer.finish(None)
    for value, weight in zip(averaged, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


@pytest.mark.slow
def test_every_level_learns():
    keras.utils.set_random_seed(0)
    source, model = scenes.source(2, size=(64, 64)), scenes.detector()
    trainer = DetectorTrainer(model, distill_start=5)
    trainer.compile(keras.optimizers.Adam(1e-2))
    batches = pipeline.batches(source, 2, 64, augment=False)
    first = trainer.fit(batches, steps_per_epoch=1, verbose=0).history
    last = trainer.fit(batches, steps_per_epoch=24, verbose=0).history  # the mean of these steps
    for k in (0, 1):
        assert last[f"level{k}_loss"][0] < 0.85 * first[f"level{k}_loss"][0]


def test_a_killed_training_ends_as_one_that_was_not(tmp_path, monkeypatch):
    compiled = DetectorTrainer.compile
    monkeypatch.setattr(DetectorTrainer, "compile", lambda self, how: compiled(self, how, run_eagerly=True))
    for module in (run.training, trainer_module):
        monkeypatch.setattr(module, "calibrate_batch_norm", lambda *_, **__: None)
    monkeypatch.setattr(loop, "SECONDS", 0.0)  # a checkpoint after each step
    monkeypatch.setattr(loop.Clock, "spent", property(lambda clock: clock.step / 2))
    ended = loop.Clock.on_train_batch_end

    class Killed(Exception):
        pass

    def kill(self, batch, logs=None):
        ended(self, batch, logs)
        if self.step == 1:
            raise Killed

    def fit(name):
        keras.utils.set_random_seed(0)
        model = scenes.detector()
        done = run.fit(model, scenes.source(4, size=(64, 64)), tmp_path / name, 60.0, 2, 1e-2)
        return done.steps, model.get_weights()

    steps, expected = fit("undisturbed")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(loop.Clock, "on_train_batch_end", kill)
        fit("killed")
    assert [path.name for path in sorted((tmp_path / "killed/training").iterdir())][-1] == "step-000000001.npz"
    again, found = fit("killed")
    assert steps == again == 2
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_directory_belongs_to_one_run(tmp_path):
    request = {"start": "a", "image_size": (96, 128)}
    record = run._claim(tmp_path, request)
    assert record == run._claim(tmp_path, request) and record["finished"] == record["test_reads"] == 0
    run.write_json(tmp_path / run.RECORD, {**record, "finished": 15.0})
    assert run._claim(tmp_path, request)["finished"] == 15
    with pytest.raises(ValueError, match="holds another run"):
        run._claim(tmp_path, {**request, "start": "b"})


def test_rare_things_and_large_levels():
    source = scenes.source(12)
    counts = np.bincount(np.concatenate([one.classes for one in source.things]))
    np.testing.assert_allclose(run.rare_weights(source), counts.max() / counts)
    assert run.shares_of(scenes.detector()) == [1.0, 0.77]
    with pytest.raises(ValueError, match="class_weights"):
        DetectorTrainer(scenes.detector(), class_weights=[1.0])
