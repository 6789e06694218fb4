"""What a command says while it works: its own lines on stderr, and none of TensorFlow's start-up."""

import contextlib
import importlib.abc
import importlib.util
import logging as plain_logging
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from absl import logging

from ds_keras.core.files import shown

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # of TensorFlow's C++ code; a user who sets it sees what it says
ERRORS_ONLY = "3"


@contextlib.contextmanager
def progress() -> Iterator[None]:
    """Shows log lines on stderr, as "14:05:59 loading TensorFlow", and imports TensorFlow quietly."""
    handler = plain_logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(message)s", "%H:%M:%S"))
    verbosity, finder = logging.get_verbosity(), QuietTensorFlow()
    root = plain_logging.root
    before = root.handlers[:]  # absl may have added a plain one, which would say everything twice
    root.handlers[:] = [handler, *(other for other in before if type(other) is not plain_logging.StreamHandler)]
    logging.set_verbosity(logging.INFO)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        root.handlers[:] = before
        logging.set_verbosity(verbosity)
        with contextlib.suppress(ValueError):  # it was used
            sys.meta_path.remove(finder)


class _Printable(plain_logging.Formatter):
    """Names of others, which messages hold, cannot move the cursor."""

    def format(self, record: plain_logging.LogRecord) -> str:
        """The text; what is not printable is escaped."""
        return "\n".join(shown(line, len(line)) for line in super().format(record).split("\n"))


class QuietTensorFlow(importlib.abc.MetaPathFinder):
    """Finds the package "tensorflow" as Python does; its import says how long it takes, and nothing else.

    Its libraries write to descriptor 2 before they read TF_CPP_MIN_LOG_LEVEL.
    """

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The package's own spec, which runs under ``muted``; None for every other module."""
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        logging.info("loading TensorFlow: about 5 s on a free core")
        if os.environ.get(LEVEL) == ERRORS_ONLY:
            run = spec.loader.exec_module

            def run_muted(module: ModuleType) -> None:
                with muted():
                    run(module)

            spec.loader.exec_module = run_muted  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Drops what is written to descriptor 2 meanwhile."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
