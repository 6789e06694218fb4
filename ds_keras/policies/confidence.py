"""How sure a level is of its answer: confidences to route by, their temperature, and their calibration. numpy alone."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ds_keras.policies.labels import check_classes

FEW = 30  # classes up to which Python finds the margin of one image faster than numpy
CONFIDENCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "probability": lambda logits: probabilities(logits).max(-1),
    "margin": lambda logits: margin(np.asarray(logits, "float64")),
    "entropy": lambda logits: -entropy(logits),
}


def margin(logits: np.ndarray) -> Any:
    """The confidence of a cascade: the largest probability less the second.

    ``routing.batch.margin`` is the same for TensorFlow.

    Args:
        logits: (..., classes) float32.

    Returns:
        (...) float32 in [0, 1]; of a single row a number.
    """
    ranked = logits.T.copy()  # classes first
    ranked.partition(-2, 0)
    if ranked.ndim == 1 and len(ranked) <= FEW:
        *_, second, best = numbers = ranked.tolist()
        return (1 - math.exp(second - best)) / sum([math.exp(x - best) for x in numbers])
    powers = np.exp(ranked - ranked[-1])
    return ((1 - powers[-2]) / np.add.reduce(powers)).T


class Reliability(NamedTuple):
    """Confidence against accuracy, in bins of equal width.

    Args:
        confidence: (bins,) average largest probability; NaN where a bin is empty.
        accuracy: (bins,) in [0, 1]; likewise.
        share: (bins,) of the images.
        ece: expected calibration error: the average of |confidence - accuracy| over the images, in [0, 1].
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    ece: float


def probabilities(logits: Any, temperature: float = 1.0) -> np.ndarray:
    """Softmax of the logits over a temperature.

    Args:
        logits: (..., classes).
        temperature: positive; above 1 makes every answer less sure.

    Returns:
        (..., classes) float64.
    """
    scaled = np.asarray(logits, "float64") / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def entropy(logits: Any) -> np.ndarray:
    """Entropy of the probabilities, in nats: (..., classes) to (...) float64, from 0 (sure) to log(classes)."""
    p = probabilities(logits)
    return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)


def fit_temperature(logits: Any, labels: Any) -> float:
    """The temperature with the least cross-entropy: fit it on held-out images (Guo et al., arXiv 1706.04599).

    Args:
        logits: (count, classes).
        labels: (count,) integer classes.

    Returns:
        Temperature in [0.05, 20].

    Raises:
        ValueError: see ``check_classes``.

    Example:
        >>> probabilities(test_logits, fit_temperature(held_out_logits, held_out_labels))
    """
    logits = np.asarray(logits, "float64")
    labels = check_classes(labels, *logits.shape)
    right = logits[np.arange(len(labels)), labels]
    low, high = np.log(0.05), np.log(20.0)
    for _ in range(30):  # the loss is convex in 1 / temperature: halve towards where its slope is 0
        middle = (low + high) / 2
        slope = ((probabilities(logits, np.exp(middle)) * logits).sum(-1) - right).mean()
        low, high = (middle, high) if slope > 0 else (low, middle)
    return float(np.exp((low + high) / 2))


def reliability(logits: Any, labels: Any, temperature: float = 1.0, bins: int = 15) -> Reliability:
    """Compares the largest probability with how often it is right.

    Args:
        logits: (count, classes).
        labels: (count,) integer classes.
        temperature: of the softmax.
        bins: of equal width over [0, 1].

    Returns:
        ``Reliability``.

    Raises:
        ValueError: see ``check_classes``.
    """
    p = probabilities(logits, temperature)
    sure, right = p.max(-1), p.argmax(-1) == check_classes(labels, *p.shape)
    index = np.minimum((sure * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    held = np.where(count, count, np.nan)
    confidence = np.bincount(index, sure, bins) / held
    accuracy = np.bincount(index, right, bins) / held
    share = count / len(sure)
    return Reliability(confidence, accuracy, share, float(np.nansum(share * np.abs(confidence - accuracy))))
