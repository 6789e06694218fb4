"""What is measured; never how long it took."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf
from helpers import nano_v2, pair

from ds_keras.benchmarks.training import recipe as benchmark
from ds_keras.core import timing
from ds_keras.experiments import TrainingStage

RECIPE = {"num_random": None, "objective": "ce", "weight_decay": 0.0}
STAGE = TrainingStage(1, 1e-3, "adamw", batch_size=4, weight_decay=0.02, image_size=(6, 6), trainer=RECIPE)


@pytest.fixture
def compiled(monkeypatch):
    """The trainers' arguments; nothing is traced."""
    seen = []

    def step(model, stage, arguments, images, labels):
        seen.append((model.dtype_policy.name, dict(arguments), images.shape))
        return lambda: None

    monkeypatch.setattr(benchmark, "_step", step)
    monkeypatch.setattr(benchmark, "torch_step", lambda model, rate: lambda images, labels: None)
    return seen


def test_what_is_added_in_turn(compiled, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    shares = (1.0, 0.5, 0.25)
    stage = TrainingStage(1, 1e-3, batch_size=4, trainer={**RECIPE, "frozen_start": True, "shares": shares})
    rows = benchmark.recipe(nano_v2(), stage, rounds=3)
    assert [row["kind"] for row in rows] == ["+ shares", "+ frozen_start", "+ bfloat16", "plain, PyTorch"]
    some, every = {**RECIPE, "shares": shares}, {**RECIPE, "shares": shares, "frozen_start": True}
    assert [arguments for _, arguments, _ in compiled] == [RECIPE, some, every, every]
    assert [policy for policy, *_ in compiled] == [*3 * ["float32"], "mixed_bfloat16"]
    assert {shape for *_, shape in compiled} == {(4, 8, 8, 1)}


def test_a_recipe_is_timed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tf, "function", lambda step, **options: step)  # tracing takes longer
    model = pair()
    before = np.array(model.classifier.kernel)
    (row,) = benchmark.recipe(model, STAGE, rounds=1)
    assert row["kind"] == "+ bfloat16" and row["images"] == 4
    assert all(row[name] > 0 for name in timing.Paired._fields)
    assert np.abs(np.array(model.classifier.kernel) - before).max() > 0
