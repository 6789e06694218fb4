"""The card of an LC-ResNet."""

from typing import Any

from ds_keras.lcnet.evaluation import ABOUT_LC, SHARES
from ds_keras.lcnet.model import LCResNet
from ds_keras.zoo.cards import About, about
from ds_keras.zoo.markdown import table


@about.register
def _(model: LCResNet, metrics: dict[str, Any]) -> About:
    return About(describe(model), "each image runs its own part", sections(model, metrics))


def describe(model: LCResNet) -> str:
    """What an image may skip, in a few words."""
    groups, blocks = model.table["groups"], len(model.blocks)
    whole = sum(block.layers for block in model.blocks)
    first = "whole" if whole == blocks else f"whole ({whole} of them)"
    skipped = [first] * bool(whole) + [f"by {groups} groups of their channels"] * bool(groups)
    return f"{blocks} residual blocks" + (f" that an image may skip {' and '.join(skipped)}" if skipped else "")


def sections(model: LCResNet, metrics: dict[str, Any]) -> list[str]:
    """The parts of a card that say what the network is and does.

    Args:
        model: the preset's.
        metrics: content of ``metrics.json``.

    Returns:
        Markdown.
    """
    units = [[row["unit"], row["runs"]] for row in metrics["units"]]
    return [
        f"The whole network: {model.madds / 1e6:.3f} million multiply-adds, {model.count_params()} weights.",
        *_figures("test set", metrics),
        "MAdds count the predictors, and of blocks and groups what runs. "
        + "; ".join(f"`{name}`: {text}" for name, text in ABOUT_LC.items())
        + ".",
        *[
            text
            for part, figures in metrics.get("also", {}).items()
            for text in _figures(f"{part}, {figures['images']} images that no training saw", figures)
        ],
        *(["## What runs (test set)", table(["unit", "runs for, % of the images"], units)] if units else []),
    ]


def _figures(where: str, figures: dict[str, Any]) -> list[str]:
    """What ``ds_keras.lcnet.evaluation.evaluate_lc`` gave."""
    low, middle, high = (f"{100 * share:.1f} %" for share in figures["spread"])
    return [
        f"## Runs ({where})",
        table(
            ["run", "top-1 %", "MMAdds", "share of the whole network"],
            [[r["run"], r["top1"], f"{r['madds'] / 1e6:.3f}", f"{100 * r['share']:.1f} %"] for r in figures["runs"]],
        ),
        f"What an image spends, of the whole network: {middle} in the median, {low} at the percentile {SHARES[0]}, "
        f"{high} at {SHARES[2]}.",
    ]
