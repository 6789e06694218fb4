"""Checks of the trainers' arguments: a table says for each name what it may be."""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

Check = tuple[Callable[[Any], bool], str]  # whether a value is allowed, and what is, in words


def one_of(choices: tuple) -> Check:
    """One of some values."""
    return lambda value: value in choices, f"one of {choices}"


def _number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)


COUNT: Check = (lambda value: isinstance(value, int) and value >= 0, "an integer of at least 0")
COUNT_OR_NONE: Check = (lambda value: value is None or COUNT[0](value), "an integer of at least 0, or None")
POSITIVE: Check = (lambda value: _number(value) and value > 0, "positive")
NOT_NEGATIVE: Check = (lambda value: _number(value) and value >= 0, "at least 0")
SHARE: Check = (lambda value: _number(value) and 0 <= value <= 1, "in [0, 1]")
BELOW_ONE: Check = (lambda value: _number(value) and 0 <= value < 1, "in [0, 1)")


def check_arguments(table: Mapping[str, Check], given: Mapping[str, Any]) -> None:
    """Checks arguments one by one, in the order of the table.

    Args:
        table: what each argument may be, by name.
        given: the arguments, by name; those that are not in the table are left alone.

    Raises:
        ValueError: names the first argument that is not allowed, what it is and what it may be.
    """
    for name, (allowed, words) in table.items():
        if not allowed(given[name]):
            raise ValueError(f"{name} must be {words}, received {given[name]!r}")
