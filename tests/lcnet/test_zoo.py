"""An LC-ResNet in the zoo: saved, loaded, given new classes; its card."""

import json

import numpy as np
import pytest
from helpers import close, images, nano_lc, same

from ds_keras import zoo
from ds_keras.lcnet.evaluation import ABOUT_LC, evaluate_lc, fixed_scales, whole_row
from ds_keras.zoo.cards import annotate, render

X, Y = images(12), np.arange(12) % 3


@pytest.fixture(scope="module")
def model():
    return nano_lc(labels=["a", "b", "c"], name="small_lc")


@pytest.fixture
def folder(model, tmp_path):
    keys = ("experiment", "command", "data", "licence", "trained_on", "chosen_on", "tested_on")
    metrics = {**dict.fromkeys(keys, "text"), "complete": True, "seconds": {"stage1": 5}, **evaluate_lc(model, X, Y)}
    metrics["runs"].append(whole_row(model, X, Y))
    metrics["also"] = {"lossless": {"images": 12, **evaluate_lc(model, X, Y)}}
    return zoo.save(model, tmp_path / "small_lc", metrics, render(model, metrics))


def test_there_and_back(model, folder):
    twin = zoo.load(folder)
    assert type(twin) is type(model) and twin.labels == ["a", "b", "c"] and twin.units == model.units
    close(twin(X), model(X))
    same(twin.run(X).scales, model.run(X).scales)


def test_other_classes_keep_what_is_skipped(model, folder):
    twin = zoo.load(folder, num_classes=5)
    assert twin(X).shape == (12, 5) and twin.labels is None
    same(twin.run(X).scales, model.run(X).scales)


def test_the_figures_are_what_ran(model):
    scales = fixed_scales(model, X)
    found = evaluate_lc(model, X, Y, scales)
    executed = model.run(X)
    dynamic, shuffled, fixed = found["runs"]
    assert [row["run"] for row in found["runs"]] == list(ABOUT_LC)[:3]
    assert dynamic["top1"] == round(100 * (executed.logits.argmax(1) == Y).mean(), 2)
    assert dynamic["madds"] == round(float(executed.madds.mean())) == shuffled["madds"]
    assert dynamic["share"] == round(dynamic["madds"] / model.madds, 4)
    on = executed.scales > 0
    assert fixed["madds"] >= dynamic["madds"]
    chosen = np.flatnonzero(scales)
    assert on.mean(0)[chosen].min() >= np.delete(on.mean(0), chosen).max()
    for unit in chosen:
        close(scales[unit], executed.scales[on[:, unit], unit].mean())
    assert found["spread"] == sorted(found["spread"]) and found["spread"][0] < found["spread"][2]
    assert [row["unit"] for row in found["units"]] == model.units
    assert [row["runs"] for row in found["units"]] == [round(100 * s, 1) for s in on.mean(0)]
    assert whole_row(model, X, Y)["share"] == 1.0


def test_a_network_that_skips_nothing(tmp_path):
    model = nano_lc(layers=False, groups=0)
    found = evaluate_lc(model, X, Y)
    assert [row["run"] for row in found["runs"]] == ["dynamic"] and found["units"] == []
    with pytest.raises(ValueError, match="labels"):
        evaluate_lc(model, X, Y[:3])


def test_the_card(model, folder):
    card = (folder / zoo.CARD).read_text()
    assert "2 residual blocks that an image may skip whole and by 2 groups of their channels, 3 classes" in card
    assert f"{model.madds / 1e6:.3f} million multiply-adds" in card
    assert "| dynamic | " in card and "| stage1_block1/group0 | " in card
    assert "## Runs (lossless, 12 images that no training saw)" in card
    assert "default policy" not in card
    annotate(folder, "Note", "Read me.")
    assert "## Note\n\nRead me.\n" in (folder / zoo.CARD).read_text()
    annotate(folder, "Note")
    assert (folder / zoo.CARD).read_text() == card


def test_no_bundle(folder):
    assert zoo.kind(folder) == "LCResNet"
    with pytest.raises(ValueError, match=r"needs no bundle: ds_keras\.export\.to_tflite\(model, .*\) writes .*dynamic"):
        zoo.bundle(folder)
    (folder / zoo.DYNAMIC).write_bytes(b"")
    with pytest.raises(ValueError, match=r"an LCResNet has no levels and needs no bundle: run .*dynamic\.tflite"):
        zoo.bundle(folder)


def test_a_config_that_describes_no_network(folder):
    record = json.loads((folder / zoo.CONFIG).read_text())
    record["config"]["groups"] = 3
    (folder / zoo.CONFIG).write_text(json.dumps(record))
    with pytest.raises(ValueError, match="the config does not describe a LCResNet: groups must be 0"):
        zoo.load(folder)
