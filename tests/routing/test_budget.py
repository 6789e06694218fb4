"""Which setting becomes the default. What the table holds: ``test_execute.py``."""

import numpy as np
import pytest
from helpers import budgeted_nano, images, pair

from ds_keras.policies.budget_table import LEVELS
from ds_keras.routing import budget, replay

COUNT = 60


@pytest.fixture(scope="module")
def measured():
    """A model with its budget table, and what its levels say of the images that it was measured on."""
    x = images(COUNT)
    model = budgeted_nano(x, points=9)
    return model, replay.score(model, x, np.arange(COUNT) % 3)


def rows_of(model):
    """(policy or level, row) of every row of the budget table."""
    for name, rows in model.budget_table.items():
        yield from ((row[0][0] if name == LEVELS else name, row) for row in rows)


def loss(model, predictions, policy, settings):
    """Accuracy below the largest level's and two standard errors of it, image after image."""
    routed, lost, gained = replay.route(model, predictions, policy, settings), 0, 0
    for i, label in enumerate(predictions.labels):
        largest = predictions.logits_by_level[-1, i].argmax() == label
        chosen = routed.logits[i].argmax() == label
        lost, gained = lost + (largest and not chosen), gained + (chosen and not largest)
    return (lost - gained) / len(predictions), 2 * (lost + gained + 1) ** 0.5 / len(predictions)


def test_a_row_replayed_has_the_accuracy_and_the_cost_of_the_table(measured):
    model, predictions = measured
    for policy, (settings, madds, accuracy, _) in rows_of(model):
        routed = replay.route(model, predictions, policy, settings)
        assert (routed.logits.argmax(1) == predictions.labels).mean() == pytest.approx(accuracy)
        assert routed.madds.mean() == pytest.approx(madds)


@pytest.mark.parametrize("tolerance", [0.0, 0.1, 0.3, 1.0])
def test_the_cheapest_setting_that_loses_little_and_two_standard_errors(measured, tolerance):
    model, predictions = measured
    twin = model.clone()
    policy, madds = budget.choose_policy(twin, predictions, tolerance)
    good = [row[1] for name, row in rows_of(model) if min(sum(loss(model, predictions, name, row[0])), 1) <= tolerance]
    largest = model.budget_table[LEVELS][-1][1]
    assert madds == min([*good, largest]) and twin.default_policy == policy
    assert madds == largest or min(sum(loss(twin, predictions, policy, None)), 1) <= tolerance
    assert replay.route(twin, predictions).madds.mean() == pytest.approx(madds, rel=1e-4)


def of_two_levels(wrong):
    """``pair`` with a budget table of its fixed levels alone, and predictions: for each level, which images it misses.

    The first class is always right.
    """
    wrong = np.array(wrong, bool)
    logits = np.eye(3)[wrong.astype(int)]
    model, count = pair(), wrong.shape[1]
    predictions = replay.Predictions(logits, np.zeros((count, 2)), np.zeros(count, int))
    budget.fit_budget(model, predictions)
    model.budget_table = {LEVELS: model.budget_table[LEVELS]}
    return model, predictions


@pytest.mark.parametrize(("count", "chosen"), [(40, 1), (2400, 0)])
def test_few_images_do_not_choose_a_level_that_trades_answers(count, chosen):
    """Each level alone has one image in 40 right. A few images cannot tell that this loses nothing; many can."""
    model, predictions = of_two_levels([np.arange(count) % 40 == 0, np.arange(count) % 40 == 1])
    assert predictions.correct.mean(1).tolist() == [0.975, 0.975]
    assert budget.choose_policy(model, predictions, tolerance=0.01)[0] == chosen == model.default_policy


@pytest.mark.parametrize(("count", "chosen"), [(199, 1), (200, 0)])
def test_that_nothing_is_lost_must_be_seen_on_enough_images(count, chosen):
    """A level that answers as the largest does may still lose a few of a hundred images that were not seen."""
    model, predictions = of_two_levels(2 * [np.arange(count) % 10 == 0])
    assert budget.choose_policy(model, predictions, tolerance=0.01)[0] == chosen == model.default_policy


@pytest.mark.parametrize("wrong", [[[0], [0]], [[1], [1]], [[1], [0]]])
def test_a_single_image_chooses_the_largest_level_unless_all_may_be_lost(wrong):
    model, predictions = of_two_levels(wrong)
    for tolerance, chosen in ((0.0, 1), (0.99, 1), (1.0, 0)):
        assert budget.choose_policy(model, predictions, tolerance)[0] == chosen


def test_bad_arguments(measured):
    model, predictions = measured
    for tolerance in (-1.0, 3, float("nan")):
        with pytest.raises(ValueError, match=r"tolerance must be in \[0, 1\], received"):
            budget.choose_policy(model, predictions, tolerance)
    with pytest.raises(ValueError, match=r"predictions must be what ds_keras.routing.score gives, received 0.01"):
        budget.choose_policy(model, 0.01)
    with pytest.raises(ValueError, match="no budget table"):
        budget.choose_policy(pair(), predictions)
