"""What an export that takes minutes says while it runs."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

from absl import logging

Step = TypeVar("Step")


def reported(steps: Sequence[Step], doing: str, expected: str = "") -> Iterator[Step]:
    """Yields the steps, and logs a line before and after: shown by the command line, hidden in a library.

    A library sees the lines after ``absl.logging.set_verbosity(absl.logging.INFO)``.

    Args:
        steps: one after another; their text is part of the line.
        doing: what is done to a step, as "converting".
        expected: how long all steps take, as "about 5 s".

    Yields:
        Each step.
    """
    began = time.perf_counter()
    if expected:
        logging.info("%s: %d files, %s", doing, len(steps), expected)
    for done, step in enumerate(steps, 1):
        yield step
        logging.info("%s %s: %d of %d, %.0f s", doing, step, done, len(steps), time.perf_counter() - began)
