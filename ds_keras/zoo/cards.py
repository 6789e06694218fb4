"""Model cards: the metrics of a preset as Markdown. Every figure comes from ``metrics.json``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.files import write_bytes, write_json

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def render(model: "Supernet", metrics: dict[str, Any]) -> str:
    """The text of a card.

    Args:
        model: the preset's supernet.
        metrics: content of ``metrics.json``.

    Returns:
        Markdown.
    """
    name = metrics["experiment"]
    height, width, channels = model.image_shape
    parts = [
        f"# {name}",
        f"{type(model).__name__}, {len(model.levels)} slice levels, {model.num_classes} classes, "
        f"images {height} x {width} x {channels} in [0, 255].",
        f'```python\nimport ds_keras\n\nmodel = ds_keras.zoo.load("{name}")  # or the directory of this card\n'
        "logits = model(images)  # routed\n```",
        *([] if metrics["complete"] else ["**A trial run: training was cut short.**"]),
        *_figures("test set", metrics),
        "MAdds count all that ran for an image: the shared start, the gate, every pass of a cascade. `random` draws "
        "levels with the default policy's mix; `static, interpolated` is a fixed level at the default policy's cost; "
        "`oracle` knows the label.",
        *[
            text
            for part, figures in metrics.get("also", {}).items()
            for text in _figures(f"{part}, {figures['images']} images that no training saw", figures)
        ],
        *[f"## {row['title']}\n\n{row['text']}" for row in metrics.get("notes", [])],
        *[text for row in metrics.get("comparisons", []) for text in _comparison(row)],
        "## Data and training",
        "\n".join(
            f"- {label}: {metrics[key]}"
            for label, key in (
                ("data", "data"),
                ("trained on", "trained_on"),
                ("chosen on", "chosen_on"),
                ("tested on", "tested_on"),
                ("default policy", "default_policy"),
                ("licence of the weights", "licence"),
            )
        ),
        f"Command ({' + '.join(f'{v} s for {k}' for k, v in metrics['seconds'].items())}, "
        f"{metrics.get('machine', 'on two x86 CPU cores')}):\n\n"
        f"```\n{metrics['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def annotate(
    directory: str | os.PathLike, title: str | None = None, text: str = "", result: dict[str, Any] | None = None
) -> None:
    """Adds a note, or a comparison with its table, to a preset's metrics, and writes the card anew.

    Args:
        directory: of the preset.
        title: of the section; one of the same title is replaced. None writes the card anew from the metrics.
        text: what it says; "" with no ``result`` removes the section.
        result: of ``ds_keras.training.ablation.ablate``.

    Raises:
        ValueError: no such directory, no metrics in it, a text or result without a title, or not such a result.
    """
    from ds_keras import zoo  # which needs this module

    directory = Path(directory).resolve()
    if not (directory / zoo.CONFIG).is_file() or not (directory / zoo.METRICS).is_file():
        raise ValueError(f"directory must hold a {zoo.CONFIG} and a {zoo.METRICS}, received {str(directory)!r}")
    if title is None and (text or result is not None):
        raise ValueError(f"a text or a result needs a title, received text={text!r} and no title")
    model, metrics = zoo.load(directory), zoo.metrics(directory)
    if title is not None:
        for kind in ("notes", "comparisons"):
            metrics[kind] = [row for row in metrics.get(kind, []) if row["title"] != title]
        if result is not None:
            metrics["comparisons"].append({"title": title, "text": text, "result": result})
        elif text:
            metrics["notes"].append({"title": title, "text": text})
    try:
        card = render(model, metrics)
    except (KeyError, TypeError) as error:
        raise ValueError(f"result must be what ds_keras.training.ablation.ablate returns: {error!r}") from error
    write_json(directory / zoo.METRICS, metrics)
    write_bytes(directory / zoo.CARD, card.encode())


def _figures(where: str, figures: dict[str, Any]) -> list[str]:
    """Both tables of what ``ds_keras.evaluation.evaluate`` gave."""
    return [
        f"## Levels ({where})",
        _table(
            ["level", "top-1 %", "top-5 %", "MMAdds", "parameters"],
            [[r["level"], r["top1"], r["top5"], f"{r['madds'] / 1e6:.3f}", r["params"]] for r in figures["levels"]],
        ),
        f"## Routing ({where})",
        _table(
            ["policy", "top-1 %", "MMAdds", "share of the largest", "images at each level, %"],
            [
                [r["policy"], r["top1"], f"{r['madds'] / 1e6:.3f}", f"{100 * r['share']:.1f} %", _mix(r["mix"])]
                for r in figures["policies"]
            ],
        ),
    ]


def _comparison(row: dict[str, Any]) -> list[str]:
    """What ``ds_keras.training.ablation.ablate`` gave, under a title and a text."""
    result = row["result"]
    return [
        f"## {row['title']}",
        row["text"],
        _table(
            ["variant", "level", f"top-1 % ({result['split']})", "sd", "difference", "sd"],
            [
                [r[key] for key in ("variant", "level", "mean", "sd", "difference", "difference_sd")]
                for r in result["rows"]
            ],
        ),
        f"{result['epochs']} epochs of {result['train_images']} images, seeds {result['seeds']}; the difference is to "
        f"the first variant, seed by seed.\n\n```\n{result['command']}\n```",
    ]


def _mix(mix: list[float] | None) -> str:
    return "" if mix is None else " / ".join(f"{100 * m:.1f}" for m in mix)


def _table(header: list[str], rows: list[list[Any]]) -> str:
    cells = [header, ["---"] * len(header), *[["" if c is None else str(c) for c in row] for row in rows]]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
