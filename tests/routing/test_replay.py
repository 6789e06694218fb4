"""Every policy's curve against a simulation, image by image."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import budgeted_nano, images, nano

from ds_keras import evaluation
from ds_keras.core import cost
from ds_keras.policies.budget_table import NO_TABLE, BudgetTable
from ds_keras.policies.confidence import margin, probabilities
from ds_keras.policies.registry import ABOUT
from ds_keras.routing import replay as curves

COUNT, CLASSES = 60, 4
COSTS = [cost.Parts(10, 2, body) for body in (5, 20, 90)]
TABLE = {
    "gate": [[[6.0], 20.0, 0.5], [[0.3], 50.0, 0.5], [[-0.3], 60.0, 0.5], [[-9.0], 102.0, 0.5]],
    "cascade": [[[0.0, 0.0], 15.0, 0.5], [[0.3, 0.1], 40.0, 0.5], [[0.5, 0.4], 70.0, 0.5], [[1.01, 1.01], 125.0, 0.5]],
    "levels": [[[0], 15.0, 0.5], [[1], 30.0, 0.6], [[2], 100.0, 0.7]],
}


@pytest.fixture
def model():
    return SimpleNamespace(
        costs=COSTS,
        levels=(0, 1, 2),
        cascade=(0, 1, 2),
        budgets=BudgetTable.from_json(TABLE, 3, (0, 1, 2)),
        default_policy="cascade",
        cascade_thresholds=[0.4, 0.2],
        gate_shift=[0.1],
    )


@pytest.fixture
def predictions(rng):
    labels = rng.integers(0, CLASSES, COUNT)
    every = rng.normal(0, 1, (3, COUNT, CLASSES)).astype("float32")
    for k in range(3):  # larger levels know more
        every[k, np.arange(COUNT), labels] += 0.5 + k
    return curves.Predictions(every, rng.normal(0, 1, (COUNT, 3)).astype("float32"), labels)


def simulate(predictions, policy, settings):
    """(top-1 %, average MAdds), one image after another."""
    right, spent = 0, 0.0
    for i, label in enumerate(predictions.labels):
        logits = predictions.logits_by_level[:, i]
        spent += 10
        if policy == "gate":
            level = int(np.argmax(predictions.gate_logits[i] - np.float32(settings[0]) * np.array([5, 20, 90]) / 90))
            spent += 2 + COSTS[level].body
        else:
            for level in range(3):
                spent += COSTS[level].body
                if level == 2 or margin(logits[level]) >= np.float32(settings[level]):
                    break
        right += logits[level].argmax() == label
    return 100 * right / len(predictions.labels), spent / len(predictions.labels)


@pytest.mark.parametrize("policy", ["gate", "cascade"])
def test_learned_policies(model, predictions, policy):
    curve = curves.curves(model, predictions)[policy]
    expected = [simulate(predictions, policy, row[0]) for row in TABLE[policy]]
    np.testing.assert_allclose(np.stack([curve.top1, curve.madds(model)], 1), expected, rtol=1e-6)
    for row in TABLE[policy]:
        routed = curves.route(model, predictions, policy, row[0])
        top1 = 100 * (routed.logits.argmax(1) == predictions.labels).mean()
        np.testing.assert_allclose([top1, routed.madds.mean()], simulate(predictions, policy, row[0]), rtol=1e-6)


@pytest.mark.parametrize("name", ["probability", "temperature", "margin", "entropy"])
def test_pairs(model, predictions, name):
    """The share of images that go on rises evenly; those go first that the confidence ranks lowest."""
    curve = curves.curves(model, predictions, [1.7, 1.0, 1.0])[f"pair, {name}"]
    p = probabilities(predictions.logits_by_level[0], 1.7 if name == "temperature" else 1.0)
    two = np.sort(p)[:, ::-1]
    sure = {"margin": two[:, 0] - two[:, 1], "entropy": (p * np.log(p)).sum(1)}.get(name, two[:, 0])
    assert len(curve.top1) == curves.POINTS
    for point in range(curves.POINTS):
        on = np.argsort(sure)[: round(COUNT * point / (curves.POINTS - 1))]
        level = np.zeros(COUNT, int)
        level[on] = 2
        assert curve.top1[point] == pytest.approx(100 * predictions.correct[level, np.arange(COUNT)].mean())
        assert curve.madds(model)[point] == pytest.approx(15 + 90 * len(on) / COUNT)


def test_static_random_and_oracle(model, predictions):
    found, alone = curves.curves(model, predictions), 100 * predictions.correct.mean(1)
    np.testing.assert_allclose(found["static"].madds(model), [15, 30, 100])
    np.testing.assert_allclose(found["static"].top1, alone)
    np.testing.assert_allclose(found["random"].madds(model), [15, 100])
    np.testing.assert_allclose(found["random"].top1, alone[[0, 2]])
    levels = [next((k for k in range(3) if predictions.correct[k, i]), 0) for i in range(COUNT)]
    np.testing.assert_allclose(found["oracle"].top1, 100 * predictions.correct.any(0).mean())
    np.testing.assert_allclose(found["oracle"].madds(model), np.mean([10 + COSTS[k].body for k in levels]))


def test_the_oracle_bounds_everything_and_cost_rises(model, predictions):
    found = curves.curves(model, predictions, [1.0] * 3)
    assert list(found) == list(ABOUT)
    for curve in found.values():
        assert (curve.top1 <= found["oracle"].top1[0] + 1e-9).all()
        assert (np.diff(curve.madds(model)) >= -1e-9).all()
    # a pair's ends: nothing goes on, everything does
    for name in (name for name in found if name.startswith("pair")):
        np.testing.assert_allclose(found[name].top1[[0, -1]], found["static"].top1[[0, 2]])
        np.testing.assert_allclose(found[name].madds(model)[[0, -1]], [15, 105])


def test_equal_cost_by_hand(model):
    """Straight lines: from 15 to 30 and 100 MAdds; half the way is half the accuracy."""
    level = np.eye(3)
    found = {
        "static": curves.Curve(level, np.array([60.0, 80.0, 90.0])),
        "gate": curves.Curve(level[[0, 2]], np.array([88.9, 89.9]), gate=True),
        "random": curves.Curve(level[[0, 1]], np.array([60.0, 70.0])),
        "oracle": curves.Curve(level[[1]], np.array([95.0])),
    }
    table = evaluation.equal_cost(model, found)
    rows = {row["policy"]: row for row in table["rows"]}
    assert table["shares"] == [20, 30, 40, 50, 60, 75] and table["drops"] == [0.3, 1.0]
    assert rows["static"]["top1"] == [66.67, 80.0, 81.43, 82.86, 84.29, 86.43]
    # 89.7 % lies 97 % of the way from 30 to 100, 89 % lies 90 %
    assert rows["static"]["saved"] == [round(100 / 97.9, 2), round(100 / 93, 2)]
    assert rows["gate"]["top1"][0] == round(88.9 + 3 / 85, 2)  # it starts at 17: the gate costs 2
    assert rows["gate"]["saved"] == [round(100 / (17 + 0.8 * 85), 2), round(100 / (17 + 0.1 * 85), 2)]
    assert rows["random"]["top1"] == [63.33, 70.0, None, None, None, None] and rows["random"]["saved"] == [None, None]
    assert table["oracle"] == {"top1": 95.0, "share": 30.0} and "oracle" not in rows


def test_a_curve_that_starts_good_enough(model):
    found = {"static": curves.Curve(np.eye(3), np.array([90.0, 90.0, 90.0]))}
    found["oracle"] = curves.Curve(np.eye(3)[:1], np.array([91.0]))
    assert evaluation.equal_cost(model, found)["rows"][0]["saved"] == [6.67, 6.67]  # level 0's cost: 15 of 100


def test_budgets(model, predictions):
    """The settings are interpolated in the table; what they spend is simulated."""
    found = evaluation.budgets(model, predictions)
    assert found["policy"] == "cascade" and len(found["rows"]) == 10
    assert [row["asked"] for row in found["rows"]] == [round(v, 1) for v in np.linspace(15, 100, 10)]
    for row, asked in zip(found["rows"], np.linspace(15, 100, 10), strict=True):
        columns = np.array([r[0] for r in TABLE["cascade"]]).T
        settings = [np.interp(asked, [15, 40, 70, 125], column) for column in columns]
        top1, spent = simulate(predictions, "cascade", settings)
        assert (row["top1"], row["spent"]) == (round(top1, 2), round(spent, 1))
        assert sum(row["mix"]) == pytest.approx(1, abs=1e-3)
    model.default_policy = 1
    assert evaluation.budgets(model, predictions, points=3)["policy"] == "cascade"
    model.default_policy = "gate"
    assert [row["asked"] for row in evaluation.budgets(model, predictions, points=2)["rows"]] == [20, 100]


def test_a_network():
    """Against ``predict_routed``, whatever the policy; one pass gives them all."""
    x = images(40)
    model, labels = budgeted_nano(x, points=5), np.arange(40) % 3
    predictions = curves.score(model, x, labels, batch_size=16)
    for policy in ("cascade", 1):
        ours, theirs = curves.route(model, predictions, policy), model.predict_routed(x, policy=policy)
        assert (ours.levels == theirs.levels).all()
        np.testing.assert_allclose(ours.madds, theirs.madds, rtol=1e-5)
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-4)
    found = evaluation.compare(model, predictions, curves.fit_temperatures(predictions))
    assert len(found["temperatures"]) == 3 and len(found["equal_cost"]["rows"]) == len(ABOUT) - 1
    # the table was measured on these images: budgets are met up to the step from one threshold to the next
    assert all(abs(row["asked"] - row["spent"]) < 25 for row in found["budgets"]["rows"])


def test_refused(model, predictions):
    model.budgets = BudgetTable.from_json({"levels": TABLE["levels"]})
    for call in (lambda: curves.curves(model, predictions), lambda: evaluation.budgets(model, predictions)):
        with pytest.raises(ValueError, match=NO_TABLE[:30]):
            call()
    with pytest.raises(ValueError, match="policy must be one of"):
        curves.route(model, predictions, "best")
    for x, labels in ((images(4), [0, 1]), (images(0), [])):
        with pytest.raises(
            ValueError, match="labels must be integers of shape .*, and name at least one image, received"
        ):
            curves.score(nano(), x, labels)
