"""What ``runner`` stores of the comparison of policies, and that it can be made anew without choosing anything."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import budgeted_nano, images

from ds_keras import evaluation, zoo
from ds_keras.experiments import read_experiment
from ds_keras.experiments.preset import compare_policies
from ds_keras.experiments.runner import remeasure
from ds_keras.routing import replay as curves
from ds_keras.zoo.cards import render

ROOT = Path(__file__).parents[2]
ADDED = ("temperatures", "equal_cost", "budgets", "plot")


@pytest.mark.slow
def test_without_choosing(tmp_path):
    """The shipped digits preset: its tables come out again, and nothing else moves."""
    shipped = zoo.presets() / "ds_mobilenet_digits"
    folder = shutil.copytree(shipped, tmp_path / "digits")
    old = {key: value for key, value in zoo.metrics(folder).items() if key not in ADDED}
    (folder / zoo.METRICS).write_text(json.dumps(old))
    (folder / zoo.PLOT).unlink()
    (folder / zoo.CARD).write_text("lost")
    config = json.loads((folder / zoo.CONFIG).read_text())
    table = config["config"]["budget_table"]
    config["config"]["budget_table"] = {name: [row[:3] for row in rows] for name, rows in table.items()}  # an older one
    (folder / zoo.CONFIG).write_text(json.dumps(config))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    experiment = read_experiment(ROOT / "zoo/ds_mobilenet_digits/experiment.py")
    metrics = remeasure(experiment, folder, choose=False)
    changed = {path.name for path in folder.iterdir() if before.get(path.name) != path.read_bytes()}
    assert changed - {zoo.BUNDLE} == {zoo.METRICS, zoo.CARD, zoo.PLOT, zoo.CONFIG}
    again = json.loads((folder / zoo.CONFIG).read_text())["config"]["budget_table"]
    for name, rows in table.items():
        assert [row[:3] for row in again[name]] == [row[:3] for row in rows]
        np.testing.assert_allclose([row[3] for row in again[name]], [row[3] for row in rows], atol=0.02)
    expected = zoo.metrics(shipped)
    assert metrics == zoo.metrics(folder) and {k: v for k, v in metrics.items() if k not in ADDED} == old
    assert metrics["temperatures"] == pytest.approx(expected["temperatures"], rel=1e-2)
    for ours, theirs in zip(metrics["equal_cost"]["rows"], expected["equal_cost"]["rows"], strict=True):
        assert ours["top1"] == pytest.approx(theirs["top1"], abs=0.3), ours["policy"]
    assert (folder / zoo.PLOT).read_bytes().startswith(b"\x89PNG")
    card = (folder / zoo.CARD).read_text()
    assert card == render(zoo.load(folder), metrics)
    assert "![Accuracy over multiply-adds, every policy](policies.png)" in card
    for row in metrics["equal_cost"]["rows"]:
        assert f"| {row['policy']} | {' | '.join(map(str, row['top1']))} |" in card
    for row in metrics["budgets"]["rows"]:
        assert f"| {row['asked']} | {row['spent']} | {row['top1']} |" in card
    assert f"({metrics['equal_cost']['oracle']['top1']} % at" in card


def test_temperatures_are_fitted_on_held_out_images_and_matplotlib_may_be_missing(tmp_path, monkeypatch):
    held, test = images(60), images(30, seed=5)
    model, labels = budgeted_nano(held, points=5), np.arange(60) % 3
    held_out, tested = curves.score(model, held, labels), curves.score(model, test, labels[:30])
    given, two = (model, tmp_path, "small"), {"held_out": held_out, "tested": tested}
    found = compare_policies(*given, **two)
    assert found["temperatures"] == curves.fit_temperatures(held_out)
    assert {**found, "plot": None} == {**evaluation.compare(model, tested, found["temperatures"]), "plot": None}
    assert found["plot"] == "policies.png" and [path.name for path in tmp_path.iterdir()] == ["policies.png"]
    (tmp_path / "policies.png").unlink()
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    assert compare_policies(*given, **two) == {**found, "plot": None}
    assert not list(tmp_path.iterdir())
    assert json.loads(json.dumps(found)) == found
