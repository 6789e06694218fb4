"""The README's code runs as it is printed, with fewer epochs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


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
