"""The budget table: what each setting of a policy costs and scores, and which settings meet a budget. numpy alone."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ds_keras.policies.base import PolicyName
from ds_keras.policies.registry import adjustable, policy_class

LEVELS = "levels"  # the table's name for the fixed levels
NO_TABLE = "the model has no budget table: run ds_keras.routing.measure_budget(model, images, labels) first"
NO_PASSES = (
    "the budget table lacks the passes of each level, which milliseconds need: run "
    "ds_keras.routing.budget.measure_passes(model, images) or measure_budget, and export the bundle again"
)


class Times(NamedTuple):
    """What the parts of a bundle take on a device, in milliseconds for an image that is run alone.

    Args:
        start: what every image pays besides the bodies: the shared start, and the caller's own work.
        bodies: (levels,) of each level's body.
        judge: what a pass of a cascade takes besides its body: the confidence, and the choice that follows from it.
        gate: what the gate takes besides start and body: its own layers, and a second call of LiteRT.
    """

    start: float
    bodies: Any
    judge: float = 0.0
    gate: float = 0.0

    def of(self, passes: Any, policy: PolicyName) -> Any:
        """Milliseconds of an image under a policy.

        Args:
            passes: (..., levels) how often each body runs.
            policy: name or level.

        Returns:
            (...) float64.
        """
        kind = policy_class(policy)
        return self.total(passes, runs_gate=kind.runs_gate, judges=kind.judges)

    def total(self, passes: Any, runs_gate: bool, judges: bool) -> Any:
        """Milliseconds of an image.

        Args:
            passes: (..., levels) how often each body runs.
            runs_gate: whether the gate runs too.
            judges: whether a confidence is computed after each body.

        Returns:
            (...) float64.
        """
        bodies = np.asarray(self.bodies) + self.judge * judges
        return self.start + self.gate * runs_gate + np.asarray(passes, "float64") @ bodies


@dataclass(frozen=True)
class BudgetRow:
    """A setting of a policy, as it was measured on held-out images.

    Args:
        settings: the gate's shift, the cascade's thresholds, or a fixed level: what the table lists by its name.
        madds: average multiply-adds of an image.
        accuracy: in [0, 1].
        passes: (levels,) how often each level's body runs for an image, on average; None where it was not measured.
    """

    settings: tuple[float, ...]
    madds: float
    accuracy: float
    passes: tuple[float, ...] | None = None

    def to_json(self) -> list[Any]:
        """[settings, MAdds, accuracy], and the passes where there are any."""
        passes = [] if self.passes is None else [list(self.passes)]
        return [list(self.settings), self.madds, self.accuracy, *passes]


@dataclass(frozen=True)
class BudgetTable:
    """The measured settings of each policy, by rising cost.

    Args:
        rows: by policy; under ``LEVELS`` a row for each fixed level.

    Example:
        >>> table = BudgetTable.from_json({"gate": [[[0.5], 1e6, 0.9], [[-0.5], 2e6, 0.95]]})
        >>> table.settings_at("gate", largest=3e6, fraction=0.5)
        array([0.], dtype=float32)
    """

    rows: Mapping[str, tuple[BudgetRow, ...]]

    @classmethod
    def from_json(
        cls, table: Any, num_levels: int | None = None, cascade: tuple[int, ...] | None = None
    ) -> "BudgetTable":
        """Reads and checks a table.

        Args:
            table: {policy or "levels": [[settings, MAdds, accuracy] or [settings, MAdds, accuracy, passes], ...]}.
            num_levels: of the network; None leaves the number of passes unchecked.
            cascade: its levels; None leaves the number of thresholds unchecked.

        Returns:
            The table.

        Raises:
            ValueError: it is no such table.
        """
        counts: dict[str, int | None] = {LEVELS: 1}
        for name in adjustable():
            counts[name] = policy_class(name).num_settings(cascade) if cascade is not None else None
        _need(isinstance(table, dict) and all(isinstance(rows, list) for rows in table.values()), table)
        _need(set(table) <= set(counts), list(table))
        found = {name: tuple(_row(row, counts[name], num_levels) for row in rows) for name, rows in table.items()}
        for name, rows in found.items():
            costs = [row.madds for row in rows]
            _need(costs == sorted(costs), {name: costs})
        return cls(found)

    def to_json(self) -> dict[str, list[list[Any]]]:
        """The table as plain lists, which ``from_json`` reads."""
        return {name: [row.to_json() for row in rows] for name, rows in self.rows.items()}

    def of(self, policy: PolicyName) -> tuple[BudgetRow, ...]:
        """A policy's rows; () where it has none."""
        return self.rows.get(policy, ()) if isinstance(policy, str) else ()

    def without(self, policy: str) -> "BudgetTable":
        """The table less a policy's rows."""
        return BudgetTable({name: rows for name, rows in self.rows.items() if name != policy})

    def rows_for(
        self,
        policy: PolicyName,
        fraction: float | None = None,
        madds: float | None = None,
        milliseconds: float | None = None,
    ) -> tuple[BudgetRow, ...]:
        """The rows that a budget is looked up in.

        Args:
            policy: one that has settings.
            fraction: a budget, or
            madds: a budget, or
            milliseconds: a budget, which the rows must have passes for.

        Returns:
            The policy's rows.

        Raises:
            ValueError: another policy, not exactly one budget, one that is no number, or no such rows.
        """
        if policy not in adjustable():
            raise ValueError(f"a budget needs a policy of {adjustable()}, received {policy!r}")
        given = {"fraction": fraction, "madds": madds, "milliseconds": milliseconds}
        if sum(value is not None for value in given.values()) != 1:
            raise ValueError(f"give exactly one of {', '.join(given)}, received {given}")
        (name, value), *_ = ((name, value) for name, value in given.items() if value is not None)
        if not isinstance(value, int | float | np.number) or isinstance(value, bool):
            raise ValueError(f"{name} must be a number, received {value!r}")
        if name == "fraction" and value > 1:
            raise ValueError(
                f"fraction must be at most 1, which is the cost of the largest level, received {value!r}: "
                "give 0.3 for 30 %. A cascade may cost more, because it runs several levels: madds= sets such a budget"
            )
        rows = self.of(policy)
        if not rows:
            raise ValueError(NO_TABLE)
        if milliseconds is not None and any(row.passes is None for row in rows):
            raise ValueError(NO_PASSES)
        return rows

    def milliseconds(self, policy: PolicyName, times: Times | None) -> np.ndarray:
        """What each row of a policy takes on a device.

        Args:
            policy: one whose rows have passes.
            times: of the device's parts.

        Returns:
            (rows,) milliseconds, never falling: a row that the device runs faster than the row before it is given the
            time of that row.

        Raises:
            ValueError: no times, or those of another number of levels.
        """
        passes = [row.passes for row in self.of(policy)]
        if not isinstance(times, Times):
            raise ValueError(
                f"milliseconds needs times, those of ds_keras.runtime.Session.benchmark, received {times!r}"
            )
        count = len(passes[0] or ())
        if len(times.bodies) != count:
            raise ValueError(f"times must have {count} bodies, one for each level, received {times!r}")
        return np.maximum.accumulate(times.of(passes, policy))

    def settings_at(
        self,
        policy: PolicyName,
        largest: float,
        fraction: float | None = None,
        madds: float | None = None,
        milliseconds: float | None = None,
        times: Times | None = None,
    ) -> np.ndarray:
        """The settings that meet an average cost. One above the last row's cost is met by the last row.

        Args:
            policy: one that has settings.
            largest: MAdds of the largest level.
            fraction: average MAdds as a fraction of the largest level's, at most 1; or
            madds: average MAdds; or
            milliseconds: average time of an image that is run alone, with
            times: of the device's parts.

        Returns:
            (settings,) float32: the gate's shift, or the cascade's thresholds.

        Raises:
            ValueError: no table, not exactly one budget, or one out of reach (the error names the least).
        """
        rows = self.rows_for(policy, fraction, madds, milliseconds)
        if milliseconds is not None:
            wanted, costs = float(milliseconds), self.milliseconds(policy, times)
        else:
            wanted = float(madds or 0.0) if fraction is None else float(fraction) * largest
            costs = np.array([row.madds for row in rows])
        low = costs[0]
        slack = 1e-6 * (largest if milliseconds is None else costs[-1])
        if not low - slack <= wanted:
            asked, least = f"{wanted:.3f} ms", f"{low:.3f} ms"
            if milliseconds is None:
                asked = f"{wanted / 1e6:.3f} MMAdds ({wanted / largest:.3f} of the largest level)"
                least = f"{low / 1e6:.3f} MMAdds, a fraction of {low / largest:.3f}"
            raise ValueError(f"a budget of {asked} is out of reach of policy {policy!r}: it must be at least {least}")
        settings = np.array([row.settings for row in rows])
        return np.array([np.interp(wanted, costs, column) for column in settings.T], "float32")


def settings_at(table: dict[str, list], policy: PolicyName, largest: float, *args: Any, **kwargs: Any) -> np.ndarray:
    """``BudgetTable.settings_at`` of a table in its JSON form."""
    return BudgetTable.from_json(table).settings_at(policy, largest, *args, **kwargs)


def _row(row: Any, num_settings: int | None, num_levels: int | None) -> BudgetRow:
    _need(isinstance(row, list) and len(row) in (3, 4), row)
    settings, madds, accuracy, *passes = row
    _need(_numbers(settings, num_settings) and _numbers([madds, accuracy], 2), row)
    for shares in passes:
        _need(_numbers(shares, num_levels) and all(0 <= share <= 1 for share in shares), row)
    return BudgetRow(tuple(settings), madds, accuracy, tuple(passes[0]) if passes else None)


def _numbers(values: Any, count: int | None) -> bool:
    """Whether these are finite numbers, and as many as there should be."""
    plain = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    return (
        plain and (count is None or len(values) == count) and all(abs(value) <= sys.float_info.max for value in values)
    )


def _need(condition: bool, received: Any) -> None:
    if not condition:
        text = repr(received)
        raise ValueError(
            f"budget_table must map {', '.join((*adjustable(), LEVELS))} to rows [settings, MAdds, accuracy] or "
            "[settings, MAdds, accuracy, passes] by rising MAdds: finite numbers, a setting for each that the policy "
            f"has, a number in [0, 1] of passes for each level; received {text[:200]}"
        )
