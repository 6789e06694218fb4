import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import SUPERNETS, array, nano, same, snapshot, stored

from ds_keras import zoo
from ds_keras.photos import Preprocessing

DIGITS = "ds_mobilenet_digits"


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_a_directory(network, preset, kind, x):
    if kind is os.fsencode:
        with pytest.raises(ValueError, match="name must be a preset or a directory, received b'"):
            zoo.load(kind(preset))
        return
    model = zoo.load(kind(preset))
    same(model(x, level=1), network(x, level=1))


def test_aliases():
    """The short names are presets that are shipped; ``ds_mobilenet`` is the one of photos."""
    assert set(zoo.ALIASES.values()) <= set(zoo.list_models())
    assert zoo.card("ds_mobilenet")["name"] == "ds_mobilenet_imagenette"


def test_a_name(tmp_path, monkeypatch):
    expected = zoo.load(zoo.presets() / DIGITS)
    monkeypatch.chdir(tmp_path)
    model = zoo.load(DIGITS)
    assert model.name == DIGITS
    for weight, value in zip(model.weights, expected.weights, strict=True):
        same(weight, value)


@pytest.mark.parametrize("name", [DIGITS, "ds_resnet_cifar10", "ds_vit_cifar10"])
def test_weights_are_saved_by_the_names_of_the_shipped_files(name, tmp_path):
    """Else another version could not read them: a property that holds layers is enough for that."""
    zoo.load(name).save_weights(tmp_path / "again.weights.h5")
    assert stored(tmp_path / "again.weights.h5").keys() == stored(zoo.presets() / name / "model.weights.h5").keys()


def test_a_path_is_a_directory_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo.save(nano(), DIGITS)
    assert zoo.load(Path(DIGITS)).num_classes == 3 and zoo.load(DIGITS).num_classes == 10


def test_a_relative_directory(preset, network, monkeypatch):
    monkeypatch.chdir(preset.parent)
    same(zoo.load("small").classifier.kernel, network.classifier.kernel)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ds_mobilenet_digit", "did you mean ds_mobilenet_digits"),
        ("mobilenet", "did you mean ds_mobilenet"),
        ("quite another", r"unknown preset 'quite another': shipped are .*ds_mobilenet_digits.*aliases: ds_mobilenet"),
        ("../ds_mobilenet_digits", "unknown preset"),
        ("a\0b", "unknown preset"),
        ("", "received ''"),
        (None, "received None"),
        (3, "received 3"),
    ],
)
def test_an_unknown_name(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (zoo.load, zoo.card):
        with pytest.raises(ValueError, match=message):
            function(name)


def test_list_models():
    with pytest.raises(ValueError, match="task must be one of"):
        zoo.list_models("detecting")
    names = zoo.list_models()
    assert DIGITS in names and names == sorted(set(names))
    assert not set(names) & set(zoo.ALIASES)
    assert set(zoo.ALIASES.values()) <= set(names)


@pytest.mark.parametrize("name", [*zoo.ALIASES, *zoo.list_models(), *zoo.list_models("detection")])
def test_shipped_cards(name):
    card = zoo.card(name)
    folder = Path(card["folder"])
    assert card["name"] == zoo.ALIASES.get(name, name) == folder.name
    assert card["licence"] and card["data"] and "test" in card["tested_on"] and "held-out" in card["chosen_on"]
    assert card["complete"] is True
    assert zoo.WEIGHTS in card["sha256"]
    for file, digest in card["sha256"].items():
        assert zoo.sha256(folder / file) == digest
    readme = (folder / zoo.CARD).read_text()
    assert card["licence"] in readme and card["data"] in readme


@pytest.mark.parametrize("name", SUPERNETS)
def test_levels_in_shipped_cards(name):
    card = zoo.card(name)
    levels = card["levels"]
    assert [row["level"] for row in levels] == list(range(len(levels)))
    assert all(0 < row["top1"] <= 100 and row["madds"] > 0 and row["params"] > 0 for row in levels)
    assert [row["policy"] for row in card["policies"]][1:] == [
        *("gate", "cascade", "random", "oracle", "static, interpolated")
    ]
    readme = (Path(card["folder"]) / zoo.CARD).read_text()
    for row in levels:
        assert f"| {row['level']} | {row['top1']} |" in readme


def test_card_of_a_directory_without_metrics(preset):
    assert zoo.card(preset)["top1"] == 12.5
    (preset / zoo.METRICS).unlink()
    card = zoo.card(preset)
    assert set(card) == {"name", "sha256", "folder"} and card["folder"] == str(preset)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_another_number_of_classes(network, preset, num_classes, x):
    model = zoo.load(preset, num_classes=num_classes)
    assert model.num_classes == num_classes and model(x, level=0).shape == (12, num_classes)
    assert model.labels is None and model.budget_table == {}
    before, after = snapshot(network), snapshot(model)
    assert len(before) == len(after)
    for old, new in zip(network.weights, model.weights, strict=True):
        if old.name not in ("gate_shift", "cascade_thresholds") and "classifier" not in old.path:
            same(array(new), array(old))
    kernel = array(model.classifier.kernel)
    assert np.abs(kernel).max() > 0 and np.unique(kernel).size == kernel.size
    for name, endpoint in model.features(x, 2).items():
        same(endpoint, network.features(x, 2)[name])


def test_the_same_number_of_classes_are_other_classes_too(network, preset, x):
    """Three classes of one's own are not the preset's three; without ``num_classes`` everything is kept."""
    model = zoo.load(preset, num_classes=3)
    assert model.labels is None and model.budget_table == {}
    assert np.all(array(model.classifier.kernel) != array(network.classifier.kernel))
    model = zoo.load(preset)
    assert model.labels == ["a", "b", "c"]
    same(model(x), network(x))


def test_a_new_classifier_is_all_that_is_new(tmp_path):
    """Whatever the network's name; what was chosen on the old classes is as in a new network."""
    model = nano(name="flower_classifier", cascade=(0, 1, 2), default_policy="cascade")
    model.gate_shift.assign([0.7])
    loaded = zoo.load(zoo.save(model, tmp_path), num_classes=5)
    fresh = {id(v) for v in (*loaded.classifier.weights, loaded.gate_shift, loaded.cascade_thresholds)}
    for old, new in zip(model.weights, loaded.weights, strict=True):
        if id(new) not in fresh:
            same(array(new), array(old))
    assert array(loaded.gate_shift) == [0] and set(array(loaded.cascade_thresholds)) == {0.5}
    assert (loaded.default_policy, loaded.cascade, loaded.budget_table) == ("gate", (0, 2), {})


@pytest.mark.parametrize("num_classes", [1, 0, -2, 2.5, "10", True])
def test_bad_number_of_classes(preset, num_classes):
    with pytest.raises(ValueError, match=f"num_classes must be an integer of at least 2, received {num_classes!r}"):
        zoo.load(preset, num_classes=num_classes)


def test_preprocessing_is_kept_and_older_presets_have_none(network, preset, change):
    assert json.loads((preset / zoo.CONFIG).read_text())["config"]["preprocessing"] == network.preprocessing.to_json()
    other = {"crop_fraction": 0.875, "interpolation": "bicubic"}
    change(lambda record: record["config"].update(preprocessing=other))
    assert zoo.load(preset, num_classes=5, image_size=12).clone().preprocessing.to_json() == other
    change(lambda record: record["config"].update(preprocessing={"crop_fraction": 2}))
    with pytest.raises(ValueError, match=r"config\.json: .*crop_fraction must be in \(0, 1\], received 2"):
        zoo.load(preset)
    change(lambda record: record["config"].pop("preprocessing") and None)
    assert zoo.load(preset).preprocessing == Preprocessing()


def test_a_home_directory(network, preset, monkeypatch):
    monkeypatch.setenv("HOME", str(preset.parent))
    assert zoo.load(f"~/{preset.name}").name == network.name
    zoo.save(network, "~/new")
    assert (preset.parent / "new" / zoo.CONFIG).is_file()


def test_a_card_prints_as_its_text(preset):
    card = zoo.card(preset)
    assert str(card) == "# card\n" and card["top1"] == 12.5
    (preset / zoo.CARD).unlink()
    assert "top1: 12.5" in str(card).splitlines()


def test_only_public_names_are_listed():
    assert dir(zoo) == sorted(zoo.__all__)
