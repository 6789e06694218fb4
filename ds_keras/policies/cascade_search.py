"""Which levels a cascade runs, and how sure each must be: a search over chains on held-out images. numpy alone.

A chain's thresholds form a path from "nothing goes on" to "everything goes on" on which no threshold ever falls: cost
rises along it, so that two neighbours can be interpolated, and a budget is met between them.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ds_keras.policies.base import RoutingSpec
from ds_keras.policies.cascade import Cascade
from ds_keras.policies.confidence import margin

LONGEST = 3  # levels of a chain: a fourth gained nothing where it was tried


class Path(NamedTuple):
    """What a chain costs and scores along its path.

    Args:
        chain: levels, smaller ones first.
        thresholds: (steps, levels of the chain - 1) float32.
        madds: (steps,) average multiply-adds, never falling.
        accuracy: (steps,) in [0, 1].
    """

    chain: tuple[int, ...]
    thresholds: np.ndarray
    madds: np.ndarray
    accuracy: np.ndarray


def search(
    logits_by_level: np.ndarray,
    labels: np.ndarray,
    start: float,
    bodies: np.ndarray,
    points: int = 41,
    chains: Sequence[tuple[int, ...]] | None = None,
) -> Path:
    """The chain with the best accuracy on average over all budgets from the smallest level's cost to the largest's.

    Args:
        logits_by_level: (levels, count, classes) logits of held-out images.
        labels: (count,) integer classes.
        start: multiply-adds of the shared start.
        bodies: (levels,) of the bodies.
        points: thresholds to try for each level, evenly spaced in the share of the images below them.
        chains: to choose from, of two or three levels each; default all.

    Returns:
        ``Path`` of the best chain.
    """
    levels = range(len(logits_by_level))
    every_chain = [chain for length in range(2, LONGEST + 1) for chain in combinations(levels, length)]
    correct = (logits_by_level.argmax(-1) == labels).astype("float64")
    confidence = margin(logits_by_level)
    costs = np.linspace(start + bodies[0], start + bodies[-1], 200)

    def score(path: Path) -> float:  # what costs less than the chain's first level, the smallest level does
        return np.interp(costs, path.madds, path.accuracy, left=correct[0].mean()).mean()

    paths = [_path(correct, confidence, chain, start, bodies, points) for chain in (chains or every_chain)]
    return max(paths, key=score)


def _path(
    correct: np.ndarray, confidence: np.ndarray, chain: tuple[int, ...], start: float, bodies: np.ndarray, points: int
) -> Path:
    """The best path of a chain: through a grid of thresholds, one step in one of them at a time."""
    policy = Cascade(RoutingSpec(start, 0.0, tuple(bodies), chain))
    tables = [spread_thresholds(confidence[level], points) for level in chain[:-1]]
    columns = [table[:, None] for table in tables]
    goes = [policy.continues(confidence[k], i, columns).astype("float64") for i, k in enumerate(chain[:-1])]
    if len(chain) == 2:  # as three levels, the last of which is never reached
        tables, goes = [*tables, np.zeros(1)], [*goes, np.zeros((1, correct.shape[1]))]
    count = correct.shape[1]
    first, second = goes
    a, b, c = chain[0], chain[1], chain[-1]
    reached = first.mean(1)[:, None]
    madds = start + bodies[a] + reached * bodies[b] + first @ second.T / count * bodies[c]
    gain = first @ (correct[b] - correct[a]) / count
    accuracy = correct[a].mean() + gain[:, None] + first @ (second * (correct[c] - correct[b])).T / count
    steps = _best_steps(madds, accuracy)
    thresholds = [[table[i] for table, i in zip(tables, step, strict=True)][: len(chain) - 1] for step in steps]
    along = tuple(np.array(steps).T)
    return Path(chain, np.array(thresholds, "float32"), madds[along], accuracy[along])


def spread_thresholds(confidence: np.ndarray, points: int) -> np.ndarray:
    """(points,) float32: below the k-th lies the share k / (points - 1) of the images, from none to all."""
    ordered = np.concatenate([[0], np.sort(confidence), [1.01]])
    ranks = np.round(np.linspace(0, len(confidence), points)).astype(int)[1:-1]
    middle = (ordered[ranks] + ordered[ranks + 1]) / 2
    return np.concatenate([[0], middle, [1.01]]).astype("float32")


def _best_steps(madds: np.ndarray, accuracy: np.ndarray) -> list[tuple[int, int]]:
    """The way through a grid, corner to corner, under which the area of accuracy over cost is largest."""
    best = np.full(madds.shape, -np.inf)
    best[0, 0] = 0.0
    came = {}
    for i, j in np.ndindex(madds.shape):
        for before in ((i - 1, j), (i, j - 1)):
            if min(before) < 0:
                continue
            step = (madds[i, j] - madds[before]) * (accuracy[i, j] + accuracy[before]) / 2
            if best[before] + step > best[i, j]:
                best[i, j], came[i, j] = best[before] + step, before
    steps = [(madds.shape[0] - 1, madds.shape[1] - 1)]
    while steps[-1] != (0, 0):
        steps.append(came[steps[-1]])
    return steps[::-1]
