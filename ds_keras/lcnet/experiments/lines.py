"""Plots of LC-ResNets beside what knows no image, and beside the supernet that they started from."""

from typing import Any

import numpy as np

from ds_keras.models.supernet import Supernet
from ds_keras.report import figures

LINES = ("dynamic", "fixed", "shuffled")


def lines(rows: list[dict[str, Any]], supernet: Supernet, kind: str) -> dict[str, figures.Series]:
    """Accuracy over average cost, on the held-out images.

    Args:
        rows: of ``compare``, at several targets.
        supernet: with a budget table, measured on the same images.
        kind: "L-Net", "C-Net" or "LC-Net": rows of others are left out. Those whose name begins with "constant" are
            networks trained to run the same units for all images.

    Returns:
        Series by name: "static", the levels of the supernet, "cascade", and those of ``LINES`` and "constant" that have
        rows. Costs in million multiply-adds, top-1 in percent.

    Raises:
        ValueError: the supernet has no budget table.
    """
    table = supernet.budget_table
    if "cascade" not in table or "levels" not in table:
        raise ValueError(f"supernet must have a budget table with levels and cascade, received {sorted(table)}")
    found = {
        "static": figures.Series(*_columns([(madds, top1) for madds, top1 in _levels(supernet)])),
        "cascade": figures.Series(*_columns([(row[1], row[2]) for row in table["cascade"]])),
    }
    own = [row for row in rows if row["kind"] == kind]
    constant = [row for row in own if row["variant"].startswith("constant")]
    for name in LINES:
        found |= _series(name, name, [row for row in own if row not in constant])
    return found | _series("constant", "dynamic", constant)


def png(rows: list[dict[str, Any]], supernet: Supernet, kind: str) -> bytes:
    """The plot of ``lines``. Needs matplotlib."""
    series = lines(rows, supernet, kind)
    return figures.render(figures.accuracy_over_cost(series, "million multiply-adds", title=kind), "png")


def _series(name: str, value: str, rows: list[dict[str, Any]]) -> dict[str, figures.Series]:
    if not rows:
        return {}
    points = sorted((row["share"] / 100 * row["madds"], row[value] / 100) for row in rows)
    return {name: figures.Series(*_columns(points))}


def _columns(points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    cost, share = np.array(points).T
    return cost / 1e6, 100 * share


def _levels(supernet: Supernet) -> list[tuple[float, float]]:
    return [(row[1], row[2]) for row in supernet.budget_table["levels"]]
