"""The programs of ``tools/``, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import run_program

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py") if path.stem != "jvm")
GROUPS = ["benchmark"]


def tool(name, *arguments, cwd=ROOT):
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "160"}
    return run_program(ROOT / "tools" / f"{name}.py", *arguments, cwd=cwd, env=env)


@pytest.mark.parametrize("name", TOOLS)
def test_help_and_an_unknown_flag(name):
    result = tool(name, "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert (f"tools/{name}.py <command>" if name in GROUPS else "Flags:") in result.stdout
    result = tool(name, "--no_such_flag=1")
    assert result.returncode == 2 and result.stdout == ""
    assert re.fullmatch("error: .*no_such_flag.*\n", result.stderr)


def test_the_command_line_without_tensorflow(tmp_path):
    """``python -m ds_keras`` in a new process: nothing but the answer, and no TensorFlow for what needs none."""
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('imported')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}

    def run(*words):
        command = [sys.executable, "-m", "ds_keras", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)

    for words, start in ((["--help"], "ds-keras <command>"), (["list"], "preset "), (["train", "-h"], "Runs an")):
        result = run(*words)
        assert (result.returncode, result.stderr) == (0, "") and result.stdout.startswith(start)
    result = run("evalute")
    assert (result.returncode, result.stdout) == (2, "") and "received 'evalute'" in result.stderr


@pytest.mark.slow
def test_demo(tmp_path):
    """What it does is tested apart: the card's figures, the files of a preset; the README's example runs too."""
    from ds_keras import zoo

    result = tool("demo", "--output=kept", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    card = zoo.card("ds_mobilenet_digits")
    for row in card["levels"]:
        k = row["level"]
        assert re.search(rf"level {k}\W+{row['top1']:.2f}\W+{row['madds'] / 1e3:.1f}\b", result.stdout), k
        parity = re.search(rf"level_{k}\.tflite\W+[\d.]+\W+(\d\.\de[-+]\d+)\W+([\d.]+) %", result.stdout)
        assert float(parity[1]) < 1e-2 and float(parity[2]) == 100.0
        assert (tmp_path / f"kept/level_{k}.tflite").stat().st_size > 1000
    default = card["policies"][0]
    assert re.search(rf"routed\W+{default['top1']:.2f}\W+{default['madds'] / 1e3:.1f}\b", result.stdout)
    assert result.stdout.count("right") >= 3 and "policy 'cascade'" in result.stdout
