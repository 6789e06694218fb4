import numpy as np
import pytest
from helpers import budgeted_nano, images

from ds_keras import evaluation
from ds_keras.evaluation import parity
from ds_keras.policies import confidence
from ds_keras.policies.labels import check_classes
from ds_keras.routing import budget
from ds_keras.routing import replay as curves

X = images(12)
GOOD = np.arange(12) % 3
BAD = [GOOD[:, None], GOOD[:5], GOOD + 1, GOOD - 1, GOOD / 2, GOOD.astype(str), []]


def test_good_labels_are_kept():
    for labels in (GOOD, GOOD.tolist(), GOOD.astype("uint8")):
        np.testing.assert_array_equal(check_classes(labels, 12, 3), GOOD)


@pytest.fixture(scope="module")
def model():
    """Nothing that is refused changes it."""
    return budgeted_nano(X, points=3)


@pytest.mark.parametrize("labels", BAD, ids=["column", "few", "above", "below", "float", "text", "none"])
def test_bad_labels_are_refused_wherever_right_answers_are_counted(model, labels):
    """A column, as Keras' own sets have it, would be compared with every answer."""
    logits = np.eye(3)[GOOD]
    table = model.budget_table
    for use in (
        lambda: evaluation.evaluate(model, X, labels),
        lambda: evaluation.evaluate_levels(model, X, labels),
        lambda: curves.score(model, X, labels),
        lambda: budget.measure_budget(model, X, labels),
        lambda: parity.compare(model, None, X, labels),
        lambda: confidence.fit_temperature(logits, labels),
        lambda: confidence.reliability(logits, labels),
    ):
        with pytest.raises(
            ValueError, match=r"labels must be (integers of shape \(12,\)|classes in \[0, 2\]), .*received"
        ):
            use()
    assert model.budget_table == table
