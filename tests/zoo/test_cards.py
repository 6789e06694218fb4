"""Sections that are added to a preset's card."""

import json
import shutil

import pytest
from helpers import nano, same

from ds_keras import zoo
from ds_keras.evaluation.tables import evaluate
from ds_keras.zoo.cards import annotate, render

RESULT = {
    "command": "ablate --me",
    "split": "held_out",
    "epochs": 3,
    "train_images": 500,
    "seeds": [0, 1],
    "rows": [{"variant": "a=1", "level": 2, "mean": 81.25, "sd": None, "difference": -0.5, "difference_sd": 0.125}],
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory, x):
    model = nano()
    keys = ("experiment", "command", "data", "licence", "trained_on", "chosen_on", "tested_on", "default_policy")
    metrics = {**dict.fromkeys(keys, "text"), "complete": True, "seconds": {"stage1": 5}}
    metrics |= (found := evaluate(model, x, [0, 1, 2] * 4))
    metrics["also"] = {"lossless": {"images": 12, **found}}
    return zoo.save(model, tmp_path_factory.mktemp("cards") / "mine", metrics, render(model, metrics))


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(saved, tmp_path / "mine")


def read(folder):
    return json.loads((folder / zoo.METRICS).read_text()), (folder / zoo.CARD).read_text()


def test_further_parts_are_shown(folder):
    assert "## Levels (lossless, 12 images that no training saw)" in read(folder)[1]


def test_policies_are_compared(folder):
    value = {"values": [1.0], "mean": 81.5, "sd": 0.25, "difference": -0.5, "difference_sd": None}
    missing = dict.fromkeys(value)
    rows = [{"variant": "a=1", "policy": "gate", "area": value, "saved": value, "auc": missing}]
    annotate(folder, "Judges", "Why.", {**RESULT, "images": 40, "policies": rows})
    card = read(folder)[1]
    assert "Policies on the same 40 images, cross-fitted" in card
    assert "| a=1 | gate | 81.50 ± 0.25 | -0.50 | 81.50 ± 0.25 | -0.50 |  |  |" in card
    with pytest.raises(ValueError, match="result must be what ds_keras.experiments.ablation.ablate returns"):
        annotate(folder, "Judges", "Why.", {**RESULT, "images": 40, "policies": [{"variant": "a=1"}]})


def test_a_comparison_comes_and_is_replaced(folder, x):
    before, weights = read(folder), zoo.load(str(folder)).get_weights()
    annotate(folder, "Ablation", "Why.", RESULT)
    metrics, card = read(folder)
    assert metrics["comparisons"] == [{"title": "Ablation", "text": "Why.", "result": RESULT}]
    assert "## Ablation\n\nWhy.\n\n| variant | level | top-1 % (held_out) |" in card
    assert "| a=1 | 2 | 81.25 |  | -0.5 | 0.125 |" in card and "ablate --me" in card
    annotate(folder, "Ablation", "Because.", RESULT)
    assert len(read(folder)[0]["comparisons"]) == 1 and "Because." in read(folder)[1]
    annotate(folder, "Note", "Read me.")
    assert "## Note\n\nRead me.\n" in read(folder)[1]
    annotate(folder, "Note")
    annotate(folder, "Ablation")
    assert read(folder)[1] == before[1]
    for a, b in zip(zoo.load(str(folder)).get_weights(), weights, strict=True):
        same(a, b)


def test_render_alone(folder):
    text = read(folder)[1]
    (folder / zoo.CARD).write_text("lost")
    annotate(folder)
    assert read(folder)[1] == text


def test_figures_that_are_not_a_runs_are_named(folder):
    """Metrics of one's own, with no result given: it is not the result's fault."""
    zoo.save(zoo.load(str(folder)), folder, {"top1": 1.0})
    with pytest.raises(ValueError, match="metrics.json must hold what a run writes: KeyError"):
        annotate(folder, "Note", "Read me.")


def test_refused(folder, tmp_path):
    before = read(folder)
    for arguments, message in (
        ((folder, "Bad", "t", {"not": "an ablation"}), "result must be what .* returns: KeyError"),
        ((folder, None, "lost"), "a text or a result needs a title"),
        ((tmp_path, "a", "b"), "directory must hold a config.json and a metrics.json"),
        (("ds_mobilenet_digits", "a", "b"), "directory must hold"),
    ):
        with pytest.raises(ValueError, match=message):
            annotate(*arguments)
    assert read(folder) == before
