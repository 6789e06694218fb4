"""Photos by the clock: the parts, the plan, the clock, and a whole run that is killed and goes on."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import nano_v2, snapshot

from ds_keras import data, training, zoo
from ds_keras.data import Source
from ds_keras.experiments import loop
from ds_keras.experiments.fine_tuning import plan
from ds_keras.experiments.fine_tuning.photos import divide, in_memory
from ds_keras.experiments.fine_tuning.run import fine_tune
from ds_keras.models import LCResNet


def source(count=300, classes=3, name="photos", size=8):
    """Images whose brightness is their class."""
    labels = np.arange(count) % classes
    pixels = np.random.default_rng(0).integers(0, 60, (count, size, size, 1)) + 60 * labels[:, None, None, None]
    return Source.from_arrays(pixels.astype("uint8"), labels, [f"class {k}" for k in range(classes)], name)


def test_many_photos_have_a_test_part():
    photos = divide(source(1200))
    assert [len(part) for part in photos] == [972, 108, 120]
    seen = np.concatenate([part.indices for part in photos])
    assert len(set(seen)) == 1200


def test_few_photos_that_a_reader_divided_are_joined():
    train, test = source(300).split(0.1)
    photos = divide({"train": train, "test": test})
    assert photos.test is None and [len(photos.train), len(photos.held_out)] == [240, 60]
    assert np.array_equal(photos.train.labels, photos.train.indices % 3)


def test_a_test_part_of_its_own_stays():
    photos = divide({"train": source(300), "test": source(30)})
    assert [len(part) for part in photos] == [270, 30, 30]


def test_a_part_for_choosing_is_what_is_held_out():
    photos = divide({"train": source(300), "test": source(30), "val": source(40)})
    assert [len(part) for part in photos] == [300, 40, 30]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (source(12), "source must have at least 5 photos of each class, but 'class 0' has 4"),
        (source(40, 1), "source must have at least two classes, received ['class 0']"),
        ([1], "source must be a ds_keras.data.Source or a dict with 'train', received [1]"),
    ],
)
def test_photos_that_are_refused(given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        divide(given)


def test_photos_of_many_sizes_are_decoded_once(tmp_path):
    from PIL import Image

    for k in range(12):
        path = tmp_path / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (30 + k, 20), (20 * k, 0, 0)).save(path)
    train = data.load(f"folder:{tmp_path}")["train"]
    decoded = in_memory(train, (8, 8))
    assert decoded.in_memory and decoded.image_shape == (10, 10, 3)
    assert np.array_equal(decoded.labels, train.labels) and decoded.class_names == ["a", "b"]
    assert in_memory(decoded, (8, 8)) is decoded


def test_the_recipe_follows_photos_and_speed():
    model, photos = nano_v2(), divide(source(1200))
    fast, slow = (plan.recipe(model, photos, plan.Speed(0.1, view), 15, 10.0) for view in (1e-4, 1e-2))
    assert fast.steps > slow.steps > 0 and fast.frozen and fast.batch == 96
    assert 10 + fast.head + fast.network + fast.ending == pytest.approx(900)
    assert fast.shares[0] == 1 and all(plan.LEAST_SHARE <= share <= 1 for share in fast.shares)
    assert fast.view == (8, 8)  # too small for smaller views
    short = plan.recipe(model, photos, plan.Speed(1.0, 1e-2), 1, 10.0)
    assert short.steps == 0 and short.network == 0
    words = plan.in_words(model, photos, plan.Speed(1.0, 1e-2), short, 1, "start")
    assert "(1 are too few)" in words and "left as it is" in words
    words = plan.in_words(model, photos, plan.Speed(0.1, 1e-4), fast, 15, "start")
    assert words.startswith("plan: about 15.0 minutes\n") and f"about {fast.steps} steps of 96 views of 8x8" in words
    assert "972 to learn from, 108 held out to choose the policy, 120 to test" in words


def test_training_views_are_smaller_where_the_network_takes_them():
    sizes = {(128, 128): (96, 96), (224, 160): (160, 128), (32, 32): (32, 32)}
    for size, view in sizes.items():
        assert plan.view_size(SimpleNamespace(image_shape=(*size, 3), strides=(2, 4))) == view
        assert plan.view_size(SimpleNamespace(image_shape=(*size, 3))) == size  # a transformer


def test_the_clock(monkeypatch):
    class Trainer:
        stop_training = False

        class optimizer:
            learning_rate = None

    now = [100.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    clock = loop.Clock(60.0, 1e-3)
    clock.set_model(Trainer())
    clock.start(0, 100.0)
    rates = []
    for step in range(40):
        clock.on_train_batch_begin(step)
        rates.append(clock.model.optimizer.learning_rate)
        now[0] += 1.5
        clock.on_train_batch_end(step)
        assert clock.model.stop_training == (step == 39)
    assert rates[0] == pytest.approx(1e-3 / loop.WARMUP) and max(rates) < 1e-3
    assert loop.WARMUP / 2 < np.argmax(rates) < loop.WARMUP and rates[-1] < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 0}, "minutes must be a positive number, received 0"),
        ({"minutes": float("nan")}, "minutes must be a positive number, received nan"),
        ({"model": "ds_mobilenet_digit"}, "unknown preset 'ds_mobilenet_digit'"),
        ({"model": "ds_resnet_cifar10"}, "photos of 1 channels, received 'ds_resnet_cifar10', which reads 3"),
        ({"source": "folders:photos"}, "data must be one of"),
        ({"augment": "flop"}, "flop"),
    ],
)
def test_what_is_refused(changes, message, tmp_path):
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        training.fine_tune(**{"model": "ds_mobilenet_digits", "source": source(), "workdir": tmp_path, **changes})
    assert not list(tmp_path.iterdir())


def test_a_network_without_levels_is_refused(tmp_path):
    with pytest.raises(ValueError, match="model 'lc' cannot be tuned: an LCResNet has no slice levels"):
        fine_tune(LCResNet.cifar(10, name="lc"), source(), workdir=tmp_path)


@pytest.mark.slow
def test_killed_and_run_again(tmp_path, monkeypatch, capsys):
    for name in ("HEAD_TRACES", "STEP_TRACES", "END_TRACES"):
        monkeypatch.setattr(plan, name, 0.1)
    monkeypatch.setattr(plan, "measure", lambda *_: plan.Speed(0.1, 1e-4))
    monkeypatch.setattr(loop, "SECONDS", 0.0)  # a checkpoint after each step
    monkeypatch.setattr(loop.Clock, "spent", property(lambda clock: clock.step / 12))
    model, workdir = nano_v2(), tmp_path / "my photos"
    before = snapshot(model)
    arguments = {"minutes": 1.0, "workdir": workdir, "command": "again"}

    class Killed(Exception):
        pass

    def kill(self, batch, logs=None):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop.Clock, "on_train_batch_end", kill)
        with pytest.raises(Killed):
            fine_tune(model, source(), **arguments)
    assert "plan: about" in capsys.readouterr().out and (workdir / "stage1/step-000000001.npz").is_file()
    with pytest.raises(ValueError, match="holds another run"):
        fine_tune(model, source(), **{**arguments, "minutes": 2.0})

    tuned = fine_tune(model, source(), **arguments)
    after = snapshot(model)
    assert all(np.array_equal(before[path], after[path]) for path in before)
    assert tuned.name == "my_photos" and tuned.labels == source().class_names
    assert "plan" not in capsys.readouterr().out
    metrics = zoo.metrics(workdir / "preset")
    assert "there was no test set, so these figures are a little high" in metrics["tested_on"]
    assert metrics["levels"][-1]["top1"] > 60 and metrics["command"] == "again"
    assert zoo.bundle(workdir / "preset").is_file()
    assert "my_photos" in (workdir / "report.html").read_text()
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [12]


@pytest.mark.slow
def test_too_few_minutes_leave_the_network_as_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "measure", lambda *_: plan.Speed(1.0, 1e-4))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no report, no bundle
    tuned = fine_tune(nano_v2(), source(), minutes=0.1, workdir=tmp_path / "short")
    assert "(0.1 are too few)" in capsys.readouterr().out
    assert tuned.labels == source().class_names and not (tmp_path / "short/stage1").exists()
    assert zoo.metrics(tmp_path / "short/preset")["levels"][-1]["top1"] > 60
