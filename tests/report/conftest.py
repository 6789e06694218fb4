import json

import numpy as np
import pytest
from helpers import budgeted_nano, images

from ds_keras.data import Source
from ds_keras.report import write_report

EVIL = '<script>console.error("ran")</script>'
LABELS = ["a cat & a dog", EVIL, '"><img src=x onerror=alert(1)>']
CARD = {
    "name": EVIL,
    "command": f"python tools/train.py --config={EVIL}",
    "data": "<b>own</b> images",
    "temperatures": [1.5, 1.25, 0.75],
    "sha256": {"model.weights.h5": "0123456789abcdef" * 4},
}


@pytest.fixture(scope="session")
def network():
    """A small network with a budget table, and labels that are markup: do not change it."""
    model = budgeted_nano(images(60), points=5)
    model.labels = LABELS
    model.default_policy = "gate"
    return model


@pytest.fixture(scope="session")
def source():
    return Source.from_arrays(images(60).astype("uint8"), np.arange(60) % 3, LABELS, "sixty")


@pytest.fixture(scope="session")
def log(tmp_path_factory):
    """Two stages of two epochs, as ``training.loop`` writes them."""
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    lines = []
    for stage, loss in (("stage1", "largest_loss"), ("stage2", "task_loss")):
        for step in (5, 10):
            values = {f"val_level{k}_accuracy": 0.5 + 0.01 * step for k in range(3)}
            mix = {f"val_gate_mix{k}": 1 / 3 for k in range(3)}
            lines.append({"stage": stage, "step": step, "seconds": 1.0, loss: 1 / step, **values, **mix})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="session")
def report(network, source, log, tmp_path_factory):
    """A page with everything but milliseconds."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    command = f"python tools/report.py --preset={EVIL}"
    return write_report(path, network, source, CARD, log, pictures=True, command=command)
