import numpy as np
import pytest
from helpers import budgeted_nano, images, same

from ds_keras.experiments.policy_scores import cross_fitted, paired, policy_rows
from ds_keras.routing import budget
from ds_keras.routing import replay as curves

X = images(40)
LABELS = np.arange(40) % 3


def fold(costs, static, gate, cascade):
    drawn = {"static": [costs, static], "gate": [costs, gate], "cascade": [costs, cascade]}
    values = {"static": 1.0, "gate": 2.0, "cascade": 3.0}
    return {"curves": drawn, "saved": values, "auc": {**values, "static": None}}


def test_paired():
    assert paired([1.0, 2.0, 4.5], [1.0, 1.0, 2.5]) == {
        "mean": 2.5,
        "sd": round(float(np.std([1, 2, 4.5], ddof=1)), 2),
        "difference": 1.0,
        "difference_sd": 1.0,
    }
    assert paired([2.0], None) == {"mean": 2.0, "sd": None, "difference": None, "difference_sd": None}
    assert set(paired([None, 1.0], [1.0, 1.0]).values()) == {None}
    assert paired([1.0], [None])["difference"] is None


def test_areas_lie_over_what_every_variant_reaches():
    """Here costs from 20 to 40: the second variant begins at 20, the first ends at 40."""
    first = [fold([10, 40], [50, 80], [50, 50], [80, 80])] * 2
    second = [fold([20, 60], [60, 100], [70, 70], [90, 90])] * 2
    rows = policy_rows({"a": [first, first], "b": [second, second]})
    assert [(row["variant"], row["policy"]) for row in rows] == [
        (variant, policy) for variant in "ab" for policy in ("static", "gate", "cascade")
    ]
    areas = [row["area"] for row in rows]
    assert [area["mean"] for area in areas] == pytest.approx([70, 50, 80, 70, 70, 90])
    assert [area["difference"] for area in areas] == pytest.approx([0, 0, 0, 0, 20, 10])
    assert areas[4]["values"] == [70, 70] and areas[4]["difference_sd"] == 0
    assert rows[1]["saved"]["mean"] == 2 and rows[2]["auc"]["mean"] == 3 and rows[0]["auc"]["mean"] is None


def test_what_costs_less_than_a_policy_begins_with_is_the_smallest_level():
    run = [fold([10, 40], [50, 80], [0, 0], [0, 0])]
    run[0]["curves"]["gate"] = [[25, 40], [90, 90]]
    (gate,) = (row["area"]["mean"] for row in policy_rows({"a": [run]}) if row["policy"] == "gate")
    assert gate == pytest.approx(70, abs=0.3)


def test_each_half_is_judged_by_what_the_other_chose():
    model = budgeted_nano(X, points=5)
    before = model.cascade, model.budget_table
    folds = cross_fitted(model, X, LABELS)
    assert (model.cascade, model.budget_table) == before
    for half, found in enumerate(folds):
        judged = np.arange(40) % 2 == half
        budget.measure_budget(model, X[~judged], LABELS[~judged])
        predictions = curves.score(model, X[judged], LABELS[judged])
        for policy, curve in curves.curves(model, predictions).items():
            if policy in found["curves"]:
                same(found["curves"][policy][0], curve.madds(model))
                same(found["curves"][policy][1], curve.top1)
        right, sure = predictions.correct[0], predictions.confidence[0]
        pairs = np.sign(sure[right][:, None] - sure[~right])
        assert found["auc"]["cascade"] == pytest.approx(0.5 + pairs.mean() / 2)
        assert set(found["saved"]) == {"static", "gate", "cascade"} and found["auc"]["static"] is None
