"""Paired timings: two functions in turn (A B A B ...), so that a noisy machine touches both alike. numpy alone."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Paired(NamedTuple):
    """Result of a paired timing: A's and B's median milliseconds, and the ratio A / B pair by pair."""

    a_ms: float
    b_ms: float
    ratio: float
    ratio_p90: float


def paired(a: Callable[[], Any], b: Callable[[], Any], rounds: int = 30, warmup: int = 3) -> Paired:
    """Times two functions in turn, the order within a pair alternating.

    Args:
        a: what is judged.
        b: what it is compared with.
        rounds: pairs that count.
        warmup: pairs that do not.

    Returns:
        ``Paired``.
    """
    times = np.zeros((rounds, 2))
    for i in range(-warmup, rounds):
        for j in (0, 1) if i % 2 else (1, 0):
            began = time.perf_counter()
            (a, b)[j]()
            times[max(i, 0), j] = time.perf_counter() - began
    ratios = times[:, 0] / times[:, 1]
    return Paired(
        *(1e3 * np.median(times, axis=0)).tolist(), float(np.median(ratios)), float(np.percentile(ratios, 90))
    )
