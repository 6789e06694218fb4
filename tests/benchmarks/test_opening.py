"""What is measured and how rows look; never how long it took."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from ds_keras.benchmarks import opening


def test_load(path):
    rows = opening.load(path)
    others = ["entry_0", "entry_1", "entry_2", "body_0", "body_1", "body_2"]  # the session opens the gate's route
    assert [row["level"] for row in rows] == ["session", *others] * 2
    assert {row["kind"] for row in rows} == {"first start", "from the cache"} and all(row["ms"] > 0 for row in rows)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
def test_memory(path):
    rows = opening.memory(path)
    assert [row["level"] for row in rows] == ["routed", 0, 1, 2]
    assert all(np.isfinite(row["mb"]) for row in rows) and sum(row["mb"] for row in rows) > 0
    with pytest.raises(RuntimeError, match="the memory could not be measured: .*path must be a bundle"):
        opening.memory(path / "none")


def test_memory_of_a_process_that_was_killed(path, monkeypatch):
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    with pytest.raises(RuntimeError, match="the memory could not be measured: exit status -9"):
        opening.memory(path)
