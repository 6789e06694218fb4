import numpy as np
import pytest

from ds_keras.policies.confidence import CONFIDENCES, entropy, fit_temperature, probabilities, reliability


def test_confidences_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.5, 0.5, 1e-12]])
    assert CONFIDENCES["probability"](logits) == pytest.approx([0.7, 0.5])
    assert CONFIDENCES["margin"](logits) == pytest.approx([0.5, 0.0], abs=1e-9)
    by_hand = -(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1))
    assert entropy(logits) == pytest.approx([by_hand, np.log(2)], abs=1e-9)
    assert (CONFIDENCES["entropy"](logits) == -entropy(logits)).all()
    assert entropy(np.array([[1000.0, 0.0, 0.0]])) == pytest.approx([0.0])


def test_temperature_of_logits_that_were_scaled(rng):
    logits = rng.normal(0, 2, (4000, 5))
    labels = np.array([rng.choice(5, p=p) for p in probabilities(logits)])
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * fit_temperature(logits, labels), rel=1e-3)


def test_temperature_has_the_least_loss(rng):
    logits, labels = rng.normal(0, 3, (300, 4)), rng.integers(0, 4, 300)
    labels[:150] = logits[:150].argmax(1)

    def loss(temperature):
        return -np.log(probabilities(logits, temperature)[np.arange(300), labels]).mean()

    best = fit_temperature(logits, labels)
    assert loss(best) <= min(loss(t) for t in np.geomspace(0.05, 20, 200)) + 1e-9


def test_temperature_keeps_to_its_range():
    sure = np.array([[5.0, 0.0], [0.0, 5.0]])
    assert fit_temperature(sure, [0, 1]) == pytest.approx(0.05, rel=1e-3)  # always right: the surer the better
    assert fit_temperature(sure, [1, 0]) == pytest.approx(20, rel=1e-3)


def test_reliability_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.35, 0.65], [0.0, 1.0]])
    found = reliability(np.log(np.maximum(p, 1e-30)), [0, 1, 1, 1], bins=4)
    np.testing.assert_allclose(found.share, [0, 0, 0.25, 0.75])
    np.testing.assert_allclose(found.confidence, [np.nan, np.nan, 0.65, 0.9])
    np.testing.assert_allclose(found.accuracy, [np.nan, np.nan, 1, 2 / 3])
    assert found.ece == pytest.approx(0.25 * 0.35 + 0.75 * (0.9 - 2 / 3))
    warm = reliability(np.log(np.maximum(p, 1e-30)), [0, 1, 1, 1], temperature=1e6, bins=1)
    assert warm.confidence == pytest.approx([0.5], abs=1e-4) and warm.accuracy == pytest.approx([0.75])
