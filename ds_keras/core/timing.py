"""Paired timings: two functions in turn (A B A B ...), so that a noisy machine touches both alike.

Besides, what is said of work that takes long: on what it runs, a forecast, and how far it is.
"""

import operator
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from absl import logging

EVERY = 10.0  # seconds between two lines of progress
Item = TypeVar("Item")


def cores() -> str:
    """The CPU cores that this process may use, as "2 cores": fewer than the machine's where it is pinned to some."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return "1 core" if count == 1 else f"{count} cores"


def machine() -> str:
    """What a run works on, for a card: as "on 2 cores of an x86_64 CPU"."""
    return f"on {cores()} of an {platform.machine()} CPU"


def foreseen(network: Any, parts: int, seconds: float) -> str:
    """About how long work takes that is done once for each layer, for messages: it depends on the machine.

    Args:
        network: a Keras model.
        parts: how often it is done for each layer, for example the number of levels.
        seconds: that one layer takes.

    Returns:
        As "about 5 s on a free core".
    """
    return about(seconds * parts * sum(1 for _ in network._flatten_layers()))


def about(seconds: float) -> str:
    """As "about 5 s on a free core", or in minutes."""
    text = f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"
    return f"about {text} on a free core"


def counted(batches: Iterable[Item], doing: str) -> Iterator[Item]:
    """Yields the batches, and logs every ten seconds how many are done: shown by the command line, hidden in a library.

    Args:
        batches: one after another; where they have a length, it is said too.
        doing: what is done with them, as "ds_mobilenet: logits by level".

    Yields:
        Each batch.
    """
    said, total = time.monotonic(), operator.length_hint(batches, 0)
    for done, batch in enumerate(batches, 1):
        yield batch
        if (now := time.monotonic()) > said + EVERY:
            logging.info("%s: %d%s batches", doing, done, f" of {total}" if total else "")
            said = now


def reported(steps: Sequence[Item], doing: str, expected: str = "") -> Iterator[Item]:
    """Yields the steps, few long ones, and logs a line after each: shown by the command line, hidden in a library.

    A library sees the lines after ``absl.logging.set_verbosity(absl.logging.INFO)``.

    Args:
        steps: one after another; their text is part of the line.
        doing: what is done to a step, as "converting".
        expected: how long all steps take, as "about 5 s"; a line before the first one says it.

    Yields:
        Each step.
    """
    began = time.perf_counter()
    if expected:
        logging.info("%s: %d files, %s", doing, len(steps), expected)
    for done, step in enumerate(steps, 1):
        yield step
        logging.info("%s %s: %d of %d, %.0f s", doing, step, done, len(steps), time.perf_counter() - began)


class Paired(NamedTuple):
    """Result of a paired timing: A's and B's milliseconds, median and p90, and the ratio A / B pair by pair."""

    a_ms: float
    b_ms: float
    ratio: float
    ratio_p90: float
    a_p90_ms: float
    b_p90_ms: float

    def of_one(self, count: int) -> "Paired":
        """The milliseconds of one of the ``count`` inputs that each call ran."""
        names = ("a_ms", "b_ms", "a_p90_ms", "b_p90_ms")
        return self._replace(**{name: getattr(self, name) / count for name in names})


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
    return of_pairs(times)


def of_pairs(times: np.ndarray) -> Paired:
    """The result of pairs that were timed.

    Args:
        times: (pairs, 2) seconds: A's and B's.

    Returns:
        ``Paired``.
    """
    ratios = times[:, 0] / times[:, 1]
    (a, b), (a_p90, b_p90) = 1e3 * np.median(times, 0), 1e3 * np.percentile(times, 90, 0)
    of_ratios = float(np.median(ratios)), float(np.percentile(ratios, 90))
    return Paired(float(a), float(b), *of_ratios, float(a_p90), float(b_p90))
