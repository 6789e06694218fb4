"""The commands on a network without levels."""

import json
from pathlib import Path

import pytest
from helpers import nano_lc
from programs import run_command as tool

from ds_keras import zoo
from ds_keras.lcnet.model import LCStage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """One block, ten classes of 8 px: the digits can be run through it."""
    model = nano_lc(num_classes=10, stages=(LCStage(8, 1),))
    return zoo.save(model, tmp_path_factory.mktemp("zoo") / "small_lc", {"licence": "Apache-2.0", "fixed": [1.0] * 3})


def test_export_and_benchmark(preset, tmp_path):
    result = tool("export", f"--preset={preset}", "--output=out", "--quantization=float16", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "MAdds at most" in result.stdout and (tmp_path / "out/dynamic.tflite").is_file()
    flags = (f"--preset={preset}", "--count=2", "--rounds=3")
    result = tool("benchmark", "lcnet", *flags, "--json=times.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "times.json").read_text())
    assert [row["what"] for row in found["rows"]] == ["skipping", "multiplying"]
    assert all(row["ratio"] > 0 and 0 < row["madds"] < 1 for row in found["rows"])
    assert found["count"] == 2 and found["batch_size"] == found["threads"] == 1


def test_evaluate(preset, tmp_path):
    result = tool("evaluate", f"--preset={preset}", "--data=digits", "--json=figures.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "figures.json").read_text())
    assert [row["run"] for row in found["runs"]] == ["dynamic", "shuffled", "fixed"]
    assert found["runs"][2]["share"] == 1.0 and len(found["units"]) == 3
    assert "percentiles" in result.stdout and "stage1_block1/group0" in result.stdout


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("export", ["--output=out", "--format=bundle"], "--format must be 'tflite'"),
        ("export", ["--output=out", "--chosen_by=gate"], "--chosen_by 'file'"),
        ("export", ["--output=out", "--quantization=int8"], "quantization of an LCResNet must be one of"),
        ("evaluate", ["--data=digits", "--policies=all"], "need a network with levels"),
        ("benchmark supernet", ["--what=slicing"], "an LCResNet has no slice levels"),
        ("report", ["--data=digits", "--output=a.html"], "an LCResNet has no slice levels"),
        ("quantize", ["--config=zoo/ds_mobilenet_digits/experiment.py"], "an LCResNet has no slice levels"),
        ("remeasure", ["--config=zoo/ds_mobilenet_digits/experiment.py"], "must hold a preset of"),
    ],
)
def test_refusals(preset, tmp_path, name, flags, message):
    """Exit code 2, one line."""
    flags = [flag.replace("=zoo", f"={ROOT}/zoo") for flag in flags]
    result = tool(*name.split(), f"--preset={preset}", *flags, cwd=tmp_path)
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ") and message in last
    assert not list(tmp_path.iterdir())
