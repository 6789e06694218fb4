from types import SimpleNamespace

import numpy as np
import pytest
from helpers import array, images, pair

from ds_keras import evaluation
from ds_keras.core import cost
from ds_keras.evaluation import tables
from ds_keras.routing import execute as routing
from ds_keras.routing.replay import Predictions

POLICIES = ["gate", "cascade", "random", "oracle"]


def one_hot(classes, count=3):
    return np.eye(count)[list(classes)]


class Stub:
    """Two levels, four images whose labels are 0, 1, 2, 0: level 0 gets two right, level 1 three."""

    num_classes, default_policy, levels = 3, "cascade", (0, 1)
    labels = np.array([0, 1, 2, 0])
    every = np.stack([one_hot([0, 1, 0, 1]), one_hot([0, 1, 2, 1])])

    def __init__(self):
        self.calls = []
        self.chosen = {"cascade": [0, 0, 1, 1], "gate": [0, 0, 0, 1], "random": [1, 0, 0, 1], "oracle": [0, 0, 1, 0]}

    def score(self, x, labels, size):
        self.calls.append(("score", {"size": size}))
        return Predictions(self.every, None, labels)

    def route(self, predictions, policy=None, **options):
        self.calls.append((policy, options))
        levels = np.array(self.chosen[policy or self.default_policy])
        return routing.Routed(self.every[levels, np.arange(4)], levels, np.where(levels, 100.0, 40.0))


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(tables, "score", Stub.score)
    monkeypatch.setattr(tables, "route", Stub.route)
    counts = SimpleNamespace(madds=lambda m, k: (40, 100)[k], params=lambda m, k: (7, 9)[k])
    monkeypatch.setattr(tables, "cost", counts)
    return Stub()


def test_by_hand(stub):
    found = evaluation.evaluate(stub, np.zeros((4, 1, 1, 1)), stub.labels, batch_size=2)
    assert found["levels"] == [
        {"level": 0, "top1": 50.0, "top5": None, "madds": 40, "params": 7},
        {"level": 1, "top1": 75.0, "top5": None, "madds": 100, "params": 9},
    ]
    assert found["policies"] == [
        {"policy": "default (cascade)", "top1": 75.0, "madds": 70, "share": 0.7, "mix": [0.5, 0.5]},
        {"policy": "gate", "top1": 50.0, "madds": 55, "share": 0.55, "mix": [0.75, 0.25]},
        {"policy": "cascade", "top1": 75.0, "madds": 70, "share": 0.7, "mix": [0.5, 0.5]},
        {"policy": "random", "top1": 50.0, "madds": 70, "share": 0.7, "mix": [0.5, 0.5]},
        {"policy": "oracle", "top1": 75.0, "madds": 55, "share": 0.55, "mix": [0.75, 0.25]},
        # half way from 40 to 100 MAdds: half way from 50 to 75 %
        {"policy": "static, interpolated", "top1": 62.5, "madds": 70, "share": 0.7, "mix": None},
    ]
    assert dict(stub.calls)["score"] == {"size": 2}
    assert dict(stub.calls)["random"]["mix"].tolist() == [0.5, 0.5]  # the default policy's


def test_top_5_by_hand(stub, monkeypatch):
    """Seven classes; the right one is at the ranks 1, 5, 6 and 7."""
    ranks = np.array([[9, 8, 7, 6, 5, 4, 3], [5, 9, 8, 7, 6, 4, 3], [4, 9, 8, 7, 6, 5, 3], [3, 9, 8, 7, 6, 5, 4]])
    stub.num_classes, stub.every, stub.labels = 7, np.stack([ranks, ranks[::-1]]).astype(float), np.zeros(4, int)
    rows = evaluation.evaluate(stub, np.zeros((4, 1, 1, 1)), stub.labels)["levels"]
    assert [(row["top1"], row["top5"]) for row in rows] == [(25.0, 50.0), (25.0, 50.0)]


def test_a_network():
    """Against the public calls, one level at a time."""
    model, x = pair(num_classes=7), images(40)
    labels = array(model(x, level=1)).argmax(1)
    labels[::3] = 0
    found = evaluation.evaluate(model, x, labels.tolist(), batch_size=16)
    for k, row in enumerate(found["levels"]):
        order = np.argsort(-array(model(x, level=k)), axis=1, kind="stable")
        assert row["top1"] == round(100 * np.mean(order[:, 0] == labels), 2)
        five = round(100 * np.mean((order[:, :5] == labels[:, None]).any(1)), 2)
        assert row["top5"] == five
        assert (row["madds"], row["params"]) == (cost.madds(model, k), cost.params(model, k))
    rows = {row["policy"]: row for row in found["policies"]}
    assert list(rows) == ["default (gate)", *POLICIES, "static, interpolated"]
    mix = np.bincount(model.predict_routed(x).levels, minlength=len(model.levels)) / len(x)
    options = {"random": {"mix": mix, "seed": 0}, "oracle": {"labels": labels}}
    for name in POLICIES:
        routed = model.predict_routed(x, policy=name, **options.get(name, {}))
        assert rows[name]["top1"] == round(100 * np.mean(routed.logits.argmax(1) == labels), 2)
        assert rows[name]["madds"] == round(float(routed.madds.mean()))
    assert rows["oracle"]["top1"] >= max(row["top1"] for row in found["levels"])
    for row in rows.values():
        assert row["mix"] is None or sum(row["mix"]) == pytest.approx(1, abs=1e-3)
    default, gate = rows["default (gate)"], rows["gate"]
    assert {**default, "policy": "gate"} == gate
    assert rows["static, interpolated"]["madds"] == gate["madds"]


def test_labels_of_another_length():
    with pytest.raises(ValueError, match=r"shape|broadcast"):
        evaluation.evaluate(pair(), images(4), [0, 1, 2])
