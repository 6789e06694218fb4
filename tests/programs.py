"""Runs the programs of ``tools/`` in processes of their own that begin with TensorFlow imported, which takes seconds.

Each is a fork of one process (the standard library's fork server) that has imported and done nothing else. For what the
import itself does there are tests that start Python anew.
"""

import contextlib
import io
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from ds_keras.cli.program import main

PRELOADED = ["tensorflow", "ds_keras.export", "ds_keras.training", "ds_keras.zoo"]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(PRELOADED)
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads should not be forked


def run_command(*words, cwd="."):
    """Runs ``ds-keras <words>`` in this process.

    Args:
        *words: command and flags.
        cwd: directory that it runs in.

    Returns:
        As ``run_program``.
    """
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, COLUMNS="160"),
        mock.patch("sys.argv", ["ds-keras"]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(arguments=[str(word) for word in words])
        except SystemExit as stopped:
            code = stopped.code
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def run_program(script, *arguments, cwd, env):
    """As ``subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)``.

    Args:
        script: path of the program.
        *arguments: its arguments.
        cwd: directory that it runs in.
        env: its environment.

    Returns:
        ``subprocess.CompletedProcess``.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        process = SERVER.Process(target=_run, args=(str(script), arguments, str(cwd), dict(env), streams))
        process.start()
        process.join()
        texts = [stream.read_text() if stream.exists() else "" for stream in streams]
    return subprocess.CompletedProcess([script, *arguments], process.exitcode, *texts)


def _run(script, arguments, cwd, env, streams):
    for descriptor, stream in zip((1, 2), streams, strict=True):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")
