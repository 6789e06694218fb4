"""What a command says while it works."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import images, nano

from ds_keras.cli.quiet import progress
from ds_keras.core.timing import about, reported

ROOT = Path(__file__).parents[2]
CODE = """
import logging
import os
from ds_keras.cli import program, quiet
with quiet.progress():
    import tensorflow
os.write(2, b"after")
"""


@pytest.mark.parametrize(("level", "rest"), [(None, "after"), ("0", "start-up after")])
def test_tensorflow_is_imported_quietly(tmp_path, level, rest):
    """Unless the user has set how much it says."""
    (tmp_path / "tensorflow.py").write_text("import os\nos.write(2, b'start-up ')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    env.pop("TF_CPP_MIN_LOG_LEVEL", None)
    env |= {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert re.fullmatch(rf"..:..:.. loading TensorFlow: about 5 s on a free core\n{rest}", done.stderr), done.stderr


def test_names_in_log_lines_cannot_move_the_cursor(capsys):
    with progress():  # its handler alone: pytest's own keep the text, which pytest-xdist cannot send
        handler = logging.root.handlers[0]
        handler.handle(logging.makeLogRecord({"msg": "reading %s", "args": ("a\x1b[31m\udcff\rb",)}))
    assert capsys.readouterr().err.endswith("reading a\\x1b[31m\\udcff\\rb\n")


def test_how_long_it_takes(capsys):
    """Before it begins; nothing is said outside."""
    model = nano()
    with progress():
        list(reported(["a", "b"], "converting", about(200)))
        model.predict_routed(images(1), policy="gate")
    said = capsys.readouterr().err.splitlines()
    assert [re.sub("^..:..:.. ", "", line) for line in said[:2]] == [
        "converting: 2 files, about 3 min on a free core",
        "converting a: 1 of 2, 0 s",
    ]
    assert re.search(r"tracing the graph of policy 'gate', once: about \d s on a free core", said[3])
    list(reported(["a"], "converting", about(5)))
    assert capsys.readouterr().err == ""
