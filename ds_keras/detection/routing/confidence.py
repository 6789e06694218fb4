"""How sure a level is of all boxes on a photo together: one number in [0, 1]. NumPy only."""

from collections.abc import Callable

import numpy as np

from ds_keras.detection.boxes import SHOWN
from ds_keras.detection.evaluation import LEAST

BAND = (0.1, 0.5)  # scores of boxes that may be a thing or not


def _entropy(scores: np.ndarray) -> float:
    p = np.clip(scores.astype("float64"), 1e-6, 1 - 1e-6)
    return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum())


def _few(amount: float) -> float:
    """1 for nothing in doubt, falling to 0 with the amount."""
    return 1 / (1 + amount)


CONFIDENCES: dict[str, Callable[[np.ndarray], float]] = {
    "entropy": lambda scores: _few(_entropy(scores)),
    "band": lambda scores: _few(float(((scores > BAND[0]) & (scores < BAND[1])).sum())),
    "mean": lambda scores: float(scores[scores >= SHOWN].mean()) if (scores >= SHOWN).any() else 1.0,
    "least": lambda scores: float(scores[scores >= SHOWN].min()) if (scores >= SHOWN).any() else 1.0,
    "margin": lambda scores: float(2 * np.abs(scores - SHOWN).min(initial=0.5)) if len(scores) else 1.0,
}
DEFAULT = "entropy"


def confidence(scores: np.ndarray, name: str = DEFAULT) -> float:
    """How sure a level is of the boxes on one photo.

    Args:
        scores: (boxes,) in [0, 1], of the boxes that are left of overlapping ones; those below ``LEAST`` do not count.
        name: "entropy" (the more entropy the scores have together, the less sure), "band" (the number of boxes with a
            score between 0.1 and 0.5), "mean" and "least" (of the scores of the boxes that are shown), or "margin" (of
            the nearest score to the threshold for what is shown).

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: another name.

    Example:
        >>> confidence(found.scores)
    """
    if name not in CONFIDENCES:
        raise ValueError(f"confidence must be one of {', '.join(CONFIDENCES)}, received {name!r}")
    return min(max(CONFIDENCES[name](scores[scores >= LEAST]), 0.0), 1.0)
