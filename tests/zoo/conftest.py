import json
import shutil

import pytest
from helpers import nano

from ds_keras import zoo


@pytest.fixture(scope="session")
def network():
    """A small supernet with random weights: do not change it."""
    model = nano(name="small", labels=["a", "b", "c"], default_policy="cascade", cascade=(0, 1))
    model.budget_table = {"cascade": [[[0.0], 10.0, 0.5], [[0.9], 20.0, 0.75]], "levels": [[[0], 10.0, 0.5]]}
    model.gate_shift.assign([0.25])
    model.cascade_thresholds.assign([0.625, 0])
    return model


@pytest.fixture(scope="session")
def _saved(network, tmp_path_factory):
    return zoo.save(network, tmp_path_factory.mktemp("zoo") / "small", {"top1": 12.5, "licence": "none"}, "# card\n")


@pytest.fixture
def preset(_saved, tmp_path):
    """A copy of the network's preset that a test may damage."""
    return shutil.copytree(_saved, tmp_path / "small")


@pytest.fixture
def change(preset):
    """Edits the preset's config.json: a function of the record, which changes it or returns another value."""

    def edit(function):
        path = preset / zoo.CONFIG
        record = json.loads(path.read_text())
        other = function(record)
        path.write_text(json.dumps(record if other is None else other))
        return preset

    return edit
