"""What is measured and how rows look; never how long it took."""

import sys

import numpy as np
import pytest
from helpers import images

from ds_keras import export
from ds_keras.benchmarks import bundle as benchmark
from ds_keras.benchmarks import opening
from ds_keras.core.timing import Paired
from ds_keras.export.tflite.convert import convert
from ds_keras.policies import BudgetTable
from ds_keras.runtime import Session

X = images(3)


def test_levels_and_routed(path):
    session = Session(path)
    rows = benchmark.levels(session, X, rounds=3) + benchmark.routed(session, X, rounds=3)
    assert [(row["what"], row["level"]) for row in rows] == [("level", k) for k in range(3)] + [("routed", "mixed")]
    assert rows[-1]["kind"] == str(session.default_policy)
    spent, largest = (session.run(X, policy=policy).madds.mean() for policy in (session.default_policy, 2))
    assert rows[-1]["madds"] == pytest.approx(spent / largest)
    for row in rows:
        assert all(np.isfinite(row[name]) and row[name] > 0 for name in Paired._fields)


def test_budgets(network, path):
    x, session = images(24), Session(path)
    session.default_policy = "cascade"
    before = session.settings["cascade"]
    rows = benchmark.budgets(session, x, points=3, rounds=2)
    spent = network.budgets.milliseconds("cascade", session.times)
    assert [row["kind"] for row in rows] == [f"asked {ms:.4f}" for ms in np.linspace(spent[0], spent[-1], 5)[1:-1]]
    assert all(row["ms"] > 0 and row["level"] == "cascade" for row in rows) and session.settings["cascade"] is before

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    session.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        benchmark.budgets(session, x, points=3, rounds=2)
    assert session.settings["cascade"] is before


def test_a_bundle_without_a_table_has_no_budgets(path):
    session = Session(path)
    session.budgets = BudgetTable({})
    assert benchmark.budgets(session, X) == []


def test_the_times_are_of_one_image(path, monkeypatch):
    result = benchmark.paired(lambda: None, lambda: None, rounds=1)._replace(a_ms=6.0, b_ms=3.0, ratio=2.0)
    monkeypatch.setattr(benchmark, "paired", lambda a, b, rounds: (a(), b(), result)[2])
    (row,) = benchmark.routed(Session(path), X)
    assert (row["a_ms"], row["b_ms"], row["ratio"]) == (2.0, 1.0, 2.0)


def test_materialized_runs_both_files(network, path):
    direct = convert(export.body_network(network, 1))
    (row,) = benchmark.materialized(Session(path), 1, direct, X, rounds=3)
    assert (row["what"], row["level"]) == ("materialised", 1) and row["a_ms"] > 0


def test_against_another_way_to_run_a_level(network, path):
    seen = []
    (row,) = benchmark.against("Keras", Session(path), 1, lambda x: seen.append(x.shape), X, rounds=3)
    assert (row["what"], row["level"]) == ("Keras", 1) and row["a_ms"] > 0 and set(seen) == {(1, 8, 8, 1)}


def test_what_routing_costs_beside_its_level(path):
    session, seen = Session(path), []
    before = dict(session.settings)
    rows = [row for k in range(3) for row in benchmark.routed_to(session, k, lambda x: seen.append(x), X, rounds=3)]
    assert [(row["what"], row["level"]) for row in rows] == [
        ("gate / file", 0),
        ("cascade / file", 0),
        ("gate / file", 2),
    ]
    assert session.settings == before and len(seen) % len(X) == 0 and seen


def test_xnnpack_runs_the_same_file_twice(path):
    (row,) = benchmark.xnnpack(Session(path), X, rounds=3)
    assert (row["what"], row["level"]) == ("XNNPACK", 2) and row["b_ms"] > 0


def test_plot(path, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    session = Session(path)
    rows = benchmark.levels(session, X, rounds=1) + benchmark.routed(session, X, rounds=1) + opening.load(path)
    benchmark.plot(rows, tmp_path / "levels.svg")
    text = (tmp_path / "levels.svg").read_text()
    assert "<svg" in text and list(tmp_path.iterdir()) == [tmp_path / "levels.svg"]
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install 'ds_keras.report.'"):
        benchmark.plot(rows, tmp_path / "levels.svg")
