"""Finds the command, reads its flags and runs it.

Bad input is one line on stderr and exit code 2. Ctrl-C is 130, and a reader of the output that went away is 1.
"""

import difflib
import importlib
import io
import os
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ds_keras.cli.quiet import ERRORS_ONLY, LEVEL, progress
from ds_keras.core.files import shown

os.environ.setdefault(LEVEL, ERRORS_ONLY)  # before a command imports TensorFlow

# Modules of ds_keras.cli. Each has a docstring that is its help, FLAGS and main(command).
COMMANDS: dict[str, str | dict[str, str]] = {
    "list": "presets.list",
    "card": "presets.card",
    "classify": "classify",
    "detect": "detection.detect",
    "evaluate": "evaluate",
    "export": "export",
    "report": "report",
    "web": "presets.web",
    "benchmark": {
        "supernet": "benchmark.supernet",
        "training": "benchmark.training",
        "bundle": "benchmark.bundle",
        "detector": "detection.stream",
        "opening": "benchmark.opening",
        "onnx": "benchmark.onnx",
        "lcnet": "benchmark.lcnet",
    },
    "train": "train",
    "train_detector": "detection.train",
    "route_detector": "detection.route",
    "ablate": "ablate",
    "shards": "data.shards",
    "remeasure": "presets.remeasure",
    "quantize": "presets.quantize",
    "annotate": "presets.annotate",
    "compress": "compress",
    "convert": "presets.convert",
}
HELP = ("--help", "-h", "help")
ERRORS = (ValueError, OSError, ImportError, FloatingPointError, RuntimeError, MemoryError)  # that documents name


def main(command: str | None = None, arguments: list[str] | None = None) -> None:
    """Runs a command.

    Args:
        command: its name; default the first argument.
        arguments: default those of the process.

    Raises:
        SystemExit: code 2 for bad input, 0 after help, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be no text
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    words, found = [] if command is None else [command], COMMANDS if command is None else COMMANDS[command]
    while isinstance(found, dict):
        name = arguments.pop(0) if arguments else ""
        if name in HELP:
            return print(_overview(words, found))
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1) if name[:1] != "-" else []
            hint = f"did you mean {near[0]}?" if near else "--help says what they do"
            received = f"received {shown(repr(name))}" if name else "received none"
            stop(f"give a command after {_program(words)!r}: one of {', '.join(found)}; {received}: {hint}")
        words, found = [*words, name], found[name]
    run(importlib.import_module(f"ds_keras.cli.{found}"), words, arguments)


def run(module: ModuleType, words: list[str], arguments: list[str]) -> None:
    """Runs the module of a command.

    Args:
        module: see ``COMMANDS``. What its ``main`` takes is the whole command, as a shell takes it.
        words: that name the command.
        arguments: its flags.

    Raises:
        SystemExit: see ``main``.
    """
    if any(argument in ("-help", *HELP) for argument in arguments):
        return print(f"{(module.__doc__ or '').strip()}\n\nFlags:\n{module.FLAGS.describe()}")
    try:
        module.FLAGS.parse(arguments)
        with progress():
            module.main(f"{_program(words)} {shlex.join(arguments)}")
        _flush()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except ERRORS as error:
        what = f"not enough memory: {error}" if isinstance(error, MemoryError) else str(error)
        stop(what.rstrip(": ") or type(error).__name__)
    except Exception as error:
        if (reason := _of_tensorflow(error)) is None:
            raise
        stop(reason)


def _of_tensorflow(error: Exception) -> str | None:
    """Why TensorFlow stopped, where it is not a fault of the program; None elsewhere."""
    if not type(error).__module__.startswith("tensorflow."):
        return None
    import tensorflow as tf

    from ds_keras.data.decode import told

    if isinstance(error, tf.errors.ResourceExhaustedError):
        return f"TensorFlow has not enough memory or disk: {shown(error, 300)}"
    return told(error) if isinstance(error, tf.errors.OpError) else None


def stop(message: str) -> Any:
    """Ends the program with an error.

    Args:
        message: printed as one line.

    Raises:
        SystemExit: always, code 2.
    """
    line = " ".join(message.split())
    print(f"error: {shown(line, len(line))}", file=sys.stderr)  # no codes that move the cursor
    try:
        _flush()
    except OSError:  # a full disk
        _drop_output()
    sys.exit(2)


def _flush() -> None:
    if sys.stdout is not None:  # it was closed before Python began
        sys.stdout.flush()


def _drop_output() -> None:
    """Nobody reads what is left, or nothing takes it: Python would complain once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _program(words: list[str]) -> str:
    """How the command was called: by ``ds-keras``, or by its program in ``tools/``."""
    script = Path(sys.argv[0])
    if script.parent.name == "tools":
        return " ".join(["python", f"tools/{script.name}", *words[1:]])
    return " ".join(["ds-keras", *words])


def _overview(words: list[str], commands: dict[str, Any]) -> str:
    """The commands, a line each."""
    lines = [f"{_program(words)} <command> [flags]", "", "Commands:"]
    for name, module in commands.items():
        package = module if isinstance(module, str) else name
        text = importlib.import_module(f"ds_keras.cli.{package}").__doc__ or ""
        lines.append(f"  {name:14} {text.splitlines()[0]}")
    return "\n".join([*lines, "", f"{_program(words)} <command> --help lists the flags of a command."])
