"""Lists the presets with their figures on the test images.

Top-1 of the smallest and the largest level, and of the default policy at its share of the largest level's MAdds; below,
the detectors.

Example:
    ds-keras list
"""

from typing import Any

from ds_keras.cli.flags import Flags

HEADER = ["preset", "levels", "their top-1 %", "routed: top-1 %", "MAdds", "policy"]
FLAGS = Flags()


def main(_: str) -> None:
    """Prints the table."""
    from ds_keras import zoo

    rows = [HEADER, *([name, *_figures(zoo.card(name))] for name in zoo.list_models())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("aliases: " + ", ".join(f"{alias} = {name}" for alias, name in zoo.ALIASES.items()))
    print("detectors (mAP@0.5 of their levels): " + ", ".join(map(_detector, zoo.list_models("detection"))))


def _detector(name: str) -> str:
    from ds_keras import zoo

    scores = [row["map50"] for row in zoo.card(name).get("levels", ())]
    return f"{name} ({scores[0]:.3f} to {scores[-1]:.3f})" if scores else name


def _figures(card: dict[str, Any]) -> list[str]:
    """The cells of a preset; empty where nothing was measured."""
    levels, policies = card.get("levels"), card.get("policies")
    if not levels or not policies:
        return [""] * (len(HEADER) - 1)
    routed = policies[0]  # of the default policy
    scores = f"{levels[0]['top1']:.2f} to {levels[-1]['top1']:.2f}"
    share = f"{100 * routed['share']:.1f} %"
    return [str(len(levels)), scores, f"{routed['top1']:.2f}", share, str(card.get("default_policy", ""))]
