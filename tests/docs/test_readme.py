"""The README's example runs as it is printed, and its tables say what the library counts."""

import re

import numpy as np
import pytest
from pages import ROOT, run

from ds_keras import models, zoo
from ds_keras.core import cost

TEXT = (ROOT / "README.md").read_text()
LAYOUTS = re.findall(r"^\| `((?:DS|LC)\w+\.\w+\(.*?\))` \| (.*) \|$", TEXT, re.M)


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("README.md")
    assert names["routed"].levels.shape == (360,)


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
    assert len(LAYOUTS) == 12


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_table_of_presets(page):
    """Every figure is the card's."""
    rows = re.findall(r"^\| `(ds_\w+)` \|((?: [\d.]+ \|){6}) ([\d.]+)x fewer \|$", (ROOT / page).read_text(), re.M)
    assert [row[0] for row in rows] == zoo.list_models()
    for name, figures, saved in rows:
        card = zoo.card(name)
        small, large = card["levels"][0], card["levels"][-1]
        default = next(row for row in card["policies"] if row["policy"].startswith("default"))
        expected = [large, small, default]
        wanted = [text for row in expected for text in (str(row["top1"]), f"{row['madds'] / 1e6:.3f}")]
        assert figures.strip(" |").split(" | ") == wanted, name
        assert saved == f"{large['madds'] / default['madds']:.1f}", name


@pytest.mark.parametrize("page", ["README.md", "WORKSPACE.md"])
def test_a_page_is_short(page):
    assert len((ROOT / page).read_text().splitlines()) <= 150
