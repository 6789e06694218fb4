"""The README's code runs as it is printed, with fewer epochs."""

import re
from pathlib import Path

import pytest

from ds_keras import cost, models

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
LAYOUTS = re.findall(r"^\| `(DS\w+\.\w+\(.*?\))` \| (.*) \|$", TEXT, re.M)


def test_both_stages_train(capsys):
    (code,) = [block for block in BLOCKS if "SupernetTrainer" in block]
    shortened, changes = re.subn(r"epochs=\d+", "epochs=1", code)
    assert changes == 2
    names = {}
    exec(compile(shortened, "README.md", "exec"), names)
    assert names["model"].budget_table["levels"]
    assert capsys.readouterr().out.strip()


def test_the_first_block_runs(tmp_path, monkeypatch):
    (code,) = [block for block in BLOCKS if "set_budget" in block]
    monkeypatch.chdir(tmp_path)
    names = {"images": pytest.importorskip("ds_keras").data.digits()["test"].images()[:4]}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["routed"].levels) == 4
    assert len(list(tmp_path.glob("tflite/*.tflite"))) == len(names["model"].levels)


@pytest.mark.parametrize(("call", "row"), LAYOUTS)
def test_the_table_of_layouts(call, row):
    """Every figure is what the library counts."""
    model = eval(call, {name: getattr(models, name) for name in models.__all__})
    last = len(model.levels) - 1
    smallest, largest = (cost.madds(model, level) / 1e6 for level in (0, last))
    figures = [f"{smallest:.1f}", f"{largest:.1f}", f"{cost.params(model, last) / 1e6:.2f}"]
    assert row.split(" | ") == [f"{model.image_shape[0]} px", str(last + 1), *figures]


def test_the_table_names_every_large_layout():
    assert len(LAYOUTS) == 8
