"""Which setting each rule takes, on logits that are drawn."""

import numpy as np
import pytest
from helpers import pair

from ds_keras.benchmarks.policies import choices as benchmark
from ds_keras.policies.budget_table import LEVELS
from ds_keras.routing import budget, replay

TOLERANCES = (0.0, 0.1, 1.0)


def drawn(count, seed=0):
    """Predictions of two levels: the larger one is right more often, and a level that is sure is rarely wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    logits = rng.normal(0, 1, (2, count, 3)) + np.array([1.5, 3.0])[:, None, None] * np.eye(3)[labels]
    return replay.Predictions(logits.astype("float32"), rng.normal(0, 1, (count, 2)).astype("float32"), labels)


def test_a_row_for_each_tolerance_and_rule():
    model = pair()
    rows = benchmark.choices(model, drawn(200), 60, TOLERANCES, draws=3)
    names = [*benchmark.RULES, benchmark.PACKAGE]
    assert [(row["tolerance"], row["rule"]) for row in rows] == [(100 * t, name) for t in TOLERANCES for name in names]
    found = {(row["tolerance"], row["rule"]): row for row in rows}
    assert found[0, benchmark.PACKAGE] == {
        "images": 60,
        "tolerance": 0,
        "rule": benchmark.PACKAGE,
        **{"cost": pytest.approx(1), "loss": 0, "worst": 0, "over": 0},
    }
    assert found[100, "no error"]["cost"] == pytest.approx(min(row["cost"] for row in rows))
    for tolerance in TOLERANCES:
        costs = [found[100 * tolerance, name]["cost"] for name in ("no error", "one error", "two errors")]
        assert costs == sorted(costs) and costs[-1] <= found[100 * tolerance, benchmark.PACKAGE]["cost"]
        assert all(row["loss"] <= row["worst"] for row in rows)


def test_each_part_is_judged_by_what_was_fitted_to_the_others(monkeypatch):
    model, held_out, fitted = pair(), drawn(50), []
    budget.fit_budget(model, held_out)
    table, chain, fit = model.budgets, model.cascade, budget.fit_budget

    def spied(model, predictions, **kwargs):
        fitted.append((len(predictions), kwargs))
        return fit(model, predictions, **kwargs)

    monkeypatch.setattr(budget, "fit_budget", spied)
    found = benchmark._judged(model, held_out)
    assert fitted == 5 * [(40, {"cascade": chain})]
    assert model.budgets is table and len(found) == sum(map(len, table.rows.values()))
    assert all(setting.same == setting.crossed for setting in found if isinstance(setting.policy, int))
    assert any(setting.same != setting.crossed for setting in found)
    accuracy = {(str(row.settings), row.madds): row.accuracy for rows in table.rows.values() for row in rows}
    for setting in found:
        lost, gained = setting.same
        right = accuracy[str(setting.settings), setting.madds]
        assert table.of(LEVELS)[-1].accuracy - (lost - gained) / 50 == pytest.approx(right)


def test_a_file_keeps_the_predictions(tmp_path):
    model, path = pair(num_classes=10), str(tmp_path / "kept.npz")
    first = benchmark.recorded(model, "digits", "test", path)
    again = benchmark.recorded(model, "no such data", "test", path)
    assert np.array_equal(first.logits_by_level, again.logits_by_level) and np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.gate_logits, again.gate_logits)
