"""Plots, as bytes. They read in grey too: lines differ in dash, width and shade, not in hue alone."""

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ds_keras.policies.confidence import Reliability

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colour, dash, width; the palette of Okabe and Ito, which the colour-blind can tell apart.
STYLES: dict[str, tuple[str, Any, float]] = {
    "static": ("#000000", "-", 1.4),
    "random": ("#777777", (0, (1, 2)), 1.4),
    "gate": ("#0072b2", (0, (6, 2, 1, 2)), 1.6),
    "cascade": ("#d55e00", "-", 2.8),
    "pair, probability": ("#009e73", (0, (5, 2)), 1.2),
    "pair, temperature": ("#56b4e9", (0, (3, 1.5)), 1.2),
    "pair, margin": ("#cc79a7", "-", 1.2),
    "pair, entropy": ("#8a6d00", (0, (1, 1)), 1.4),
    "dynamic": ("#0072b2", "-", 2.4),  # of an LC-ResNet: these three and its network trained without an image
    "fixed": ("#0072b2", (0, (5, 2)), 1.4),
    "shuffled": ("#0072b2", (0, (1, 2)), 1.4),
    "constant": ("#009e73", (0, (6, 2, 1, 2)), 1.4),
}
PLAIN = ("#555555", (0, (4, 1, 1, 1)), 1.4)  # of policies that are not listed
WIDE = 2.0  # lines from this width on lie above the others
LEVEL_COLOURS = ("#0072b2", "#56b4e9", "#e69f00", "#d55e00", "#cc79a7", "#009e73", "#8a6d00", "#555555")
HATCHES = ("", "///", "...", "xx", "\\\\\\", "oo", "++", "--")
DASHES = ("-", "--", "-.", ":")
SIZE = (4.5, 4.5)  # inches: letters stay readable where a phone shows the plot 350 px wide


class Series(NamedTuple):
    """A policy's curve in a plot.

    Args:
        cost: (points,) in the plot's unit, rising.
        top1: (points,) percent.
    """

    cost: np.ndarray
    top1: np.ndarray


def accuracy_over_cost(
    series: dict[str, Series], unit: str, chosen: tuple[float, float] | None = None, title: str = ""
) -> "Figure":
    """The main plot: top-1 against the average cost of an image, all policies.

    Args:
        series: by policy; "static" has a point for each level. A series of one point, as the oracle, is a mark.
        unit: of the cost, for the axis.
        chosen: (cost, top-1 %) of the default policy as it ships.
        title: of the plot.

    Returns:
        The figure.

    Raises:
        ImportError: matplotlib is missing.
    """
    figure, axes = _axes(title, f"average cost of an image, {unit}", "top-1, %")
    levels = series["static"]
    for name, curve in series.items():
        if len(curve.top1) > 1:
            colour, dash, width = STYLES.get(name, PLAIN)
            order = 3 if width >= WIDE else 2
            axes.plot(*curve, color=colour, linestyle=dash, linewidth=width, label=name, zorder=order)
    axes.plot(*levels, "o", color="black", markersize=6, zorder=4, label="a level")
    for k, (cost, top1) in enumerate(zip(*levels, strict=True)):
        axes.annotate(str(k), (cost, top1), (4, -11), textcoords="offset points", fontsize=9)
    if chosen is not None:
        axes.plot(*chosen, "D", color="white", markeredgecolor="#d55e00", markersize=8, zorder=5, label="as shipped")
    low = min(min(curve.top1) for curve in series.values())
    high = max(max(curve.top1) for curve in series.values() if len(curve.top1) > 1)
    spread = max(high - low, 0.1)
    axes.set_ylim(low - 0.12 * spread, high + 0.3 * spread)
    axes.set_xlim(0, 1.06 * max(levels.cost[-1], 0 if chosen is None else chosen[0]))
    for name, (costs, accuracies) in series.items():
        if len(accuracies) > 1:
            continue
        cost, top1 = costs[0], accuracies[0]
        top = min(top1, high + 0.24 * spread)  # far above the rest it would flatten every curve: it is named instead
        mark = "*" if top == top1 else "^"
        axes.plot(cost, top, mark, color="black", markersize=9, label=name, zorder=4, linestyle="none")
        axes.annotate(f"{name} {top1:.2f} %", (cost, top), (7, -3), textcoords="offset points", fontsize=9)
    share = axes.secondary_xaxis(
        "top", functions=(lambda x: 100 * x / levels.cost[-1], lambda x: x * levels.cost[-1] / 100)
    )
    share.set_xlabel("share of the largest level's, %", fontsize=9)
    share.tick_params(labelsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def reliability(parts: dict[str, Reliability]) -> "Figure":
    """Reliability diagram: how often an answer of a given confidence is right.

    Args:
        parts: by name.

    Returns:
        The figure.
    """
    figure, axes = _axes("", "confidence (largest probability)", "accuracy")
    axes.plot([0, 1], [0, 1], color="#777777", linestyle=(0, (1, 2)), label="perfect")
    for i, (name, part) in enumerate(parts.items()):
        held = part.share > 0
        style = {"color": LEVEL_COLOURS[i], "linestyle": DASHES[i % 4], "marker": "os^v"[i % 4], "markersize": 4}
        label = f"{name} (ECE {100 * part.ece:.1f} %)"
        axes.plot(part.confidence[held], part.accuracy[held], label=label, **style)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=1, fontsize=9, frameon=False)
    return figure


def mixes(asked: list[float], mix: list[list[float]]) -> "Figure":
    """The share of images that end at each level, for each budget.

    Args:
        asked: (budgets,) percent of the largest level's MAdds.
        mix: (budgets, levels) in [0, 1].

    Returns:
        The figure.
    """
    figure, axes = _axes("", "budget, % of the largest level's MAdds", "images that end at a level, %")
    bottom, width = np.zeros(len(asked)), 0.75 * min(np.diff(asked), default=10.0)
    for k, share in enumerate(100 * np.array(mix).T):
        style = {"color": LEVEL_COLOURS[k % len(LEVEL_COLOURS)], "hatch": HATCHES[k % len(HATCHES)]}
        axes.bar(asked, share, width, bottom, label=f"level {k}", edgecolor="white", linewidth=0.3, **style)
        bottom += share
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        columnspacing=1.0,
        handlelength=1.5,
        fontsize=9,
        frameon=False,
    )
    return figure


def training(lines: dict[str, tuple[list[float], list[float]]], ylabel: str) -> "Figure":
    """Curves over the steps of a stage.

    Args:
        lines: name to (steps, values).
        ylabel: of the axis, with its unit.

    Returns:
        The figure.
    """
    figure, axes = _axes("", "step", ylabel)
    for i, (name, (steps, values)) in enumerate(lines.items()):
        colour = LEVEL_COLOURS[i % len(LEVEL_COLOURS)]
        mark = "o" if len(steps) == 1 else ""
        axes.plot(steps, values, color=colour, linestyle=DASHES[i % 4], marker=mark, linewidth=1.3, label=name)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def render(figure: "Figure", kind: str = "svg") -> bytes:
    """The bytes of a figure: the same ones for the same figure.

    Args:
        figure: of this module.
        kind: "svg" or "png".

    Returns:
        The file's content.
    """
    import matplotlib

    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "ds_keras"}):
        figure.savefig(buffer, format=kind, dpi=160, facecolor="white", metadata=metadata)
    return buffer.getvalue()


def _axes(title: str, xlabel: str, ylabel: str) -> Any:
    try:
        from matplotlib.figure import Figure  # without pyplot: no state, no display
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'ds_keras[report]'") from error
    figure = Figure(SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)
    return figure, axes
