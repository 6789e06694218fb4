"""What is measured and how rows look; never how long it took."""

import numpy as np
import pytest
from helpers import images, nano

from ds_keras import export
from ds_keras.export.litert import convert
from ds_keras.runtime import Session, benchmark

X = images(3)


@pytest.fixture(scope="module")
def network():
    return nano()


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    return export.to_bundle(network, tmp_path_factory.mktemp("bundle") / "nano.dsbundle")


def test_levels_and_routed(path):
    session = Session(path)
    rows = benchmark.levels(session, X, rounds=3) + benchmark.routed(session, X, rounds=3)
    assert [(row["what"], row["level"]) for row in rows] == [("level", k) for k in range(3)] + [("routed", "mixed")]
    assert rows[-1]["kind"] == str(session.default_policy)
    for row in rows:
        assert all(np.isfinite(row[name]) and row[name] > 0 for name in ("a_ms", "b_ms", "ratio", "ratio_p90"))


def test_the_times_are_of_one_image(path, monkeypatch):
    result = benchmark.paired(lambda: None, lambda: None, rounds=1)._replace(a_ms=6.0, b_ms=3.0, ratio=2.0)
    monkeypatch.setattr(benchmark, "paired", lambda a, b, rounds: (a(), b(), result)[2])
    (row,) = benchmark.routed(Session(path), X)
    assert (row["a_ms"], row["b_ms"], row["ratio"]) == (2.0, 1.0, 2.0)


def test_materialized_runs_both_files(network, path):
    direct = convert(export.body_network(network, 1))
    (row,) = benchmark.materialized(Session(path), 1, direct, X, rounds=3)
    assert (row["what"], row["level"]) == ("materialised", 1) and row["a_ms"] > 0


def test_load(path):
    rows = benchmark.load(path)
    assert [row["level"] for row in rows] == ["route", 0, 1, 2] * 2
    assert {row["kind"] for row in rows} == {"first start", "from the cache"} and all(row["ms"] > 0 for row in rows)
