"""The README's code runs as it is printed, with fewer epochs."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import images, nano_resnet, nano_vit
from PIL import Image

import ds_keras
from ds_keras import models
from ds_keras.core import cost

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
LAYOUTS = re.findall(r"^\| `((?:DS|LC)\w+\.\w+\(.*?\))` \| (.*) \|$", TEXT, re.M)


def test_both_stages_train(capsys):
    (code,) = [block for block in BLOCKS if "GateTrainer(model" in block]
    shortened, changes = re.subn(r"epochs=\d+", "epochs=1", code)
    assert changes == 2
    names = {}
    exec(compile(shortened, "README.md", "exec"), names)
    assert names["model"].budget_table["levels"]
    assert capsys.readouterr().out.strip()


def test_the_first_block_runs(tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if "set_budget(fraction" in block]
    monkeypatch.chdir(tmp_path)
    names = {"images": ds_keras.data.digits()["test"].images()[:4]}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["routed"].levels) == 4
    assert len(list(tmp_path.glob("tflite/*.tflite"))) == len(names["model"].levels)


def test_a_network_that_skips(tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if "LCTrainer" in block]
    monkeypatch.chdir(tmp_path)
    shortened, changes = re.subn(r"\(None, 20\), \(0.5, 30\)", "(None, 1), (0.5, 1)", code)
    assert changes == 1
    names = {}
    exec(compile(shortened, "README.md", "exec"), names)
    assert names["trainer"].optimizer.iterations == 18
    assert names["executed"].scales.shape == (280, len(names["model"].units))
    assert (tmp_path / "tflite/dynamic.tflite").is_file()


def test_a_preset_is_tuned_on_a_folder(tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if "folder:photos" in block]
    for name in ("cat", "dog", "owl"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(8):
            noise = np.random.default_rng(i).integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    ds_keras.zoo.save(
        nano_resnet(input_shape=(32, 32, 3)), tmp_path / "small"
    )  # the shipped one takes a minute to trace
    for long, short in (
        ("ds_resnet_cifar10", "small"),
        (" 64", " 4"),
        ("epochs=10", "epochs=1"),
        ("take(20)", "take(2)"),
    ):
        assert long in code
        code = code.replace(long, short)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["model"].num_classes == 3 and names["trainer"].optimizer.iterations == 5


def test_the_bundle_runs(tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if "model.dsbundle" in block]
    monkeypatch.chdir(tmp_path)
    x = ds_keras.data.digits()["test"].images()[:4]
    names = {"ds_keras": ds_keras, "model": ds_keras.zoo.load("ds_mobilenet_digits"), "images": x}
    exec(compile(code, "README.md", "exec"), names)
    made = {path.stem for path in tmp_path.glob("cache/*/*.tflite")}
    assert made == {"entry_0", "route", *(f"body_{level}" for level in range(4))}  # of the policy and of the benchmark


def test_int8_bundles_are_written(tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if "int8.dsbundle" in block]
    monkeypatch.chdir(tmp_path)
    names = {"ds_keras": ds_keras, "model": nano_resnet(), "vit": nano_vit(), "images": images(8)}
    exec(compile(code, "README.md", "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} == {"int8.dsbundle", "vit.dsbundle"}


@pytest.mark.parametrize(("call", "row"), LAYOUTS)
def test_the_table_of_layouts(call, row):
    """Every figure is what the library counts."""
    model = eval(call, {name: getattr(models, name) for name in models.__all__})
    if isinstance(model, models.LCResNet):
        rest, costs = model.costs()
        model.build()
        weights = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
        figures = [rest + sum(c.always for c in costs), model.madds]
        figures = [*(f"{figure / 1e6:.1f}" for figure in figures), f"{weights / 1e6:.2f}"]
        assert row.split(" | ") == [f"{model.image_shape[0]} px", "none", *figures]
        return
    last = len(model.levels) - 1
    smallest, largest = (cost.madds(model, level) / 1e6 for level in (0, last))
    figures = [f"{smallest:.1f}", f"{largest:.1f}", f"{cost.params(model, last) / 1e6:.2f}"]
    assert row.split(" | ") == [f"{model.image_shape[0]} px", str(last + 1), *figures]


def test_the_table_names_every_large_layout():
    assert len(LAYOUTS) == 10
