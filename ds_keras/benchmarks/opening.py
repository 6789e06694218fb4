"""What it takes to open a bundle: milliseconds and memory. No TensorFlow."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.runtime.session import Session


def load(path: str | os.PathLike, num_threads: int = 1) -> list[dict[str, Any]]:
    """Milliseconds to open a bundle, to make and open each of its files, and to open them from the cache.

    Args:
        path: of the bundle.
        num_threads: of LiteRT.

    Returns:
        Rows: what, level (the file, or "session": with the file that the default policy begins with), kind, and "ms"
        (one measurement each: what a user waits once).

    Raises:
        ValueError: not a bundle, or a damaged one.
    """
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for kind in ("first start", "from the cache"):
            began = time.perf_counter()
            session = Session(path, num_threads, Path(cache))
            rows.append({"what": "open", "level": "session", "kind": kind, "ms": _since(began)})
            first = session.files()[0]
            for name in [name for name in session.bundle.files if name != first]:
                began = time.perf_counter()
                session.router.levels.open(name)
                rows.append({"what": "open", "level": name, "kind": kind, "ms": _since(began)})
    return rows


def memory(path: str | os.PathLike, num_threads: int = 1) -> list[dict[str, Any]]:
    """Resident megabytes that a process gains by opening a bundle and routing an image, then by each level's first run.

    Args:
        path: of the bundle.
        num_threads: of LiteRT.

    Returns:
        Rows: what, level ("routed": with all files that the image meets; then what each level adds to those), kind and
        "mb"; measured in a process of its own (Linux only).

    Raises:
        RuntimeError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, os.fspath(path), str(num_threads)], capture_output=True, text=True
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RuntimeError(f"the memory could not be measured: {reason}")
    steps = json.loads(done.stdout)
    gains = zip(["routed", *range(len(steps) - 2)], np.diff(steps).tolist(), strict=True)
    return [{"what": "memory", "level": level, "kind": "resident", "mb": gain} for level, gain in gains]


def _since(began: float) -> float:
    return 1e3 * (time.perf_counter() - began)


_MEMORY = """
import json, os, sys
import numpy as np
from ds_keras.runtime import Session

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

import ai_edge_litert.interpreter
steps = [resident()]
session = Session(sys.argv[1], int(sys.argv[2]), keep=1000)
image = np.zeros((1, *session.image_shape), "float32")
session.run(image)
steps.append(resident())
for level in range(session.num_levels):
    session.run(image, level=level)
    steps.append(resident())
print(json.dumps(steps))
"""
