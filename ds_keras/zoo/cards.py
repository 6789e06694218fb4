"""Model cards: the metrics of a preset as Markdown. Every figure comes from ``metrics.json``."""

import functools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ds_keras.core.files import expanded, write_bytes, write_json
from ds_keras.policies.registry import ABOUT
from ds_keras.zoo.markdown import table

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

COMPARED = {"area": "area %", "saved": "fewer MAdds at -0.3", "auc": "AUC"}  # of policies, over seeds
HEADER = ["variant", "policy", *(cell for name in COMPARED.values() for cell in (name, "difference"))]
CODE = 'import ds_keras\n\nmodel = ds_keras.zoo.load("{name}")  # or the directory of this card\nlogits = model(images)'


class About(NamedTuple):
    """What the card of one type of network says: in a few words, of a call, and in sections of Markdown.

    ``code`` is an example instead of the usual one, with "{name}" for the preset.
    """

    what: str
    call: str
    sections: list[str]
    code: str = CODE


def render(model: "ImageModel", metrics: dict[str, Any]) -> str:
    """The text of a card.

    Args:
        model: the preset's network.
        metrics: content of ``metrics.json``.

    Returns:
        Markdown.
    """
    name = metrics["experiment"]
    height, width, channels = model.image_shape
    own = about(model, metrics)
    parts = [
        f"# {name}",
        f"{type(model).__name__}, {own.what}, {model.num_classes} classes, images {height} x {width} x {channels} "
        "in [0, 255].",
        f"```python\n{own.code.format(name=name)}  # {own.call}\n```",
        *([] if metrics["complete"] else ["**A trial run: training was cut short.**"]),
        *own.sections,
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
            if key in metrics
        ),
        f"Command ({' + '.join(f'{v} s for {k}' for k, v in metrics['seconds'].items())}, "
        f"{metrics.get('machine', 'on two x86 CPU cores')}):\n\n"
        f"```\n{metrics['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


@functools.singledispatch
def about(model: Any, metrics: dict[str, Any]) -> About:
    """What a card says of its type of network: here of supernets. Other types register their own.

    Args:
        model: the preset's network.
        metrics: content of ``metrics.json``.

    Returns:
        ``About``.
    """
    return About(f"{len(model.levels)} slice levels", "routed", _levels(metrics))


def _levels(metrics: dict[str, Any]) -> list[str]:
    """What a supernet's levels and policies do."""
    return [
        *_figures("test set", metrics),
        "MAdds count all that ran for an image: the shared start, the gate, every pass of a cascade. `random` draws "
        "levels with the default policy's mix; `static, interpolated` is a fixed level at the default policy's cost; "
        "`oracle` knows the label.",
        *(_equal_cost(metrics) if "equal_cost" in metrics else []),
        *(_budgets(metrics["budgets"]) if "budgets" in metrics else []),
        *[
            text
            for part, figures in metrics.get("also", {}).items()
            for text in _figures(f"{part}, {figures['images']} images that no training saw", figures)
        ],
        *(_int8(metrics["int8"]) if "int8" in metrics else []),
    ]


def annotate(
    directory: str | os.PathLike, title: str | None = None, text: str = "", result: dict[str, Any] | None = None
) -> None:
    """Adds a note, or a comparison with its table, to a preset's metrics, and writes the card anew.

    Args:
        directory: of the preset.
        title: of the section; one of the same title is replaced. None writes the card anew from the metrics.
        text: what it says; "" with no ``result`` removes the section.
        result: of ``ds_keras.experiments.ablation.ablate``.

    Raises:
        ValueError: no such directory, no metrics in it, a text or result without a title, or not such a result.
    """
    from ds_keras import zoo  # which needs this module

    directory = expanded(directory).resolve()
    if not (directory / zoo.CONFIG).is_file() or not (directory / zoo.METRICS).is_file():
        raise ValueError(f"directory must hold a {zoo.CONFIG} and a {zoo.METRICS}, received {str(directory)!r}")
    if title is None and (text or result is not None):
        raise ValueError(f"a text or a result needs a title, received text={text!r} and no title")
    model, metrics = zoo.load(directory), zoo.metrics(directory)
    if title is not None:
        for kind in ("notes", "comparisons"):
            metrics[kind] = [row for row in metrics.get(kind, []) if row.get("title") != title]
        if result is not None:
            metrics["comparisons"].append({"title": title, "text": text, "result": result})
        elif text:
            metrics["notes"].append({"title": title, "text": text})
    try:
        card = render(model, metrics)
    except Exception as error:  # a damaged value can fail anywhere
        what = f"{directory / zoo.METRICS} must hold what a run writes"
        if result is not None:
            what = "result must be what ds_keras.experiments.ablation.ablate returns"
        raise ValueError(f"{what}: {error!r}") from error
    write_json(directory / zoo.METRICS, metrics)
    write_bytes(directory / zoo.CARD, card.encode())


def _figures(where: str, figures: dict[str, Any]) -> list[str]:
    """Both tables of what ``ds_keras.evaluation.evaluate`` gave."""
    return [
        f"## Levels ({where})",
        table(
            ["level", "top-1 %", "top-5 %", "MMAdds", "parameters"],
            [[r["level"], r["top1"], r["top5"], f"{r['madds'] / 1e6:.3f}", r["params"]] for r in figures["levels"]],
        ),
        f"## Routing ({where})",
        table(
            ["policy", "top-1 %", "MMAdds", "share of the largest", "images at each level, %"],
            [
                [r["policy"], r["top1"], f"{r['madds'] / 1e6:.3f}", f"{100 * r['share']:.1f} %", _mix(r["mix"])]
                for r in figures["policies"]
            ],
        ),
    ]


def _equal_cost(metrics: dict[str, Any]) -> list[str]:
    """What ``ds_keras.evaluation.equal_cost`` gave, and the plot of the same."""
    found = metrics["equal_cost"]
    oracle = found["oracle"]
    return [
        "## Policies at equal cost (test set)",
        *([f"![Accuracy over multiply-adds, every policy]({metrics['plot']})"] if metrics.get("plot") else []),
        "Top-1 % at a share of the largest level's MAdds, and how many times fewer MAdds a policy takes at a loss of "
        "accuracy (empty: out of its range).",
        table(
            ["policy", *(f"{s} %" for s in found["shares"]), *(f"-{d} points" for d in found["drops"])],
            [[r["policy"], *r["top1"], *(v and f"{v}x" for v in r["saved"])] for r in found["rows"]],
        ),
        "\n".join(f"- `{name}`: {ABOUT[name]}" for name in (*(row["policy"] for row in found["rows"]), "oracle"))
        + f" ({oracle['top1']} % at {oracle['share']} %)",
        "Shifts, thresholds and temperatures come from held-out images. What a policy saves is read off its curve on "
        "the test images, for every policy alike.",
    ]


def _budgets(found: dict[str, Any]) -> list[str]:
    """What ``ds_keras.evaluation.budgets`` gave."""
    farthest = max(abs(row["spent"] / row["asked"] - 1) for row in found["rows"])
    return [
        "## Budgets (test set)",
        f"Asked of the {found['policy']} and spent, in % of the largest level's MAdds. The thresholds are looked up in "
        f"the table of the held-out images. Largest deviation: {100 * farthest:.1f} % of what was asked.",
        table(
            ["asked %", "spent %", "top-1 %", "images at each level, %"],
            [[r["asked"], r["spent"], r["top1"], _mix(r["mix"])] for r in found["rows"]],
        ),
    ]


def _int8(found: dict[str, Any]) -> list[str]:
    """What ``ds_keras.experiments.quantized.quantize_preset`` gave."""
    rows = [[r["level"], r["keras"], r["top1"], f"{r['top1'] - r['keras']:+.2f}", r["same"]] for r in found["rows"]]
    return [
        "## int8 bundle (test set)",
        f"`model_int8.dsbundle`, {found['quantization']}, {found['bytes'] / 1e6:.2f} MB (half precision: "
        f"{found['float16_bytes'] / 1e6:.2f} MB), run in LiteRT on all {found['images']} test images, with the "
        f"settings of the float model. {found['calibrated_on']}",
        table(["level", "float top-1 %", "int8 top-1 %", "difference", "same class (policy: and level) %"], rows),
        f"```\n{found['command']}\n```",
    ]


def _comparison(row: dict[str, Any]) -> list[str]:
    """What ``ds_keras.experiments.ablation.ablate`` gave, under a title and a text."""
    result = row["result"]
    return [
        f"## {row['title']}",
        row["text"],
        table(
            ["variant", "level", f"top-1 % ({result['split']})", "sd", "difference", "sd"],
            [
                [r[key] for key in ("variant", "level", "mean", "sd", "difference", "difference_sd")]
                for r in result["rows"]
            ],
        ),
        *(_policies(result) if "policies" in result else []),
        f"{result['epochs']} epochs of {result['train_images']} images, seeds {result['seeds']}; the difference is to "
        f"the first variant, seed by seed.\n\n```\n{result['command']}\n```",
    ]


def _policies(result: dict[str, Any]) -> list[str]:
    """The comparison's policies."""
    return [
        f"Policies on the same {result['images']} images, cross-fitted: on each half with the thresholds, shifts and "
        "chain chosen on the other. Area: average top-1 over all costs between the levels that every variant reaches. "
        "AUC: how well the gate, or the smallest level's margin, tells the images that the smallest level has right.",
        table(HEADER, policy_cells(result["policies"])),
    ]


def policy_cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The table of policies of ``ds_keras.experiments.ablation.ablate``, under ``HEADER``.

    Args:
        rows: its "policies".

    Returns:
        Cells: mean ± deviation over the seeds, and the same of the differences; "" where there is none.
    """

    def cell(found: dict[str, Any], mean: str, sd: str, form: str) -> str:
        if found[mean] is None:
            return ""
        return f"{found[mean]:{form}}" + ("" if found[sd] is None else f" ± {found[sd]:.2f}")

    return [
        [
            row["variant"],
            row["policy"],
            *(
                text
                for name in COMPARED
                for text in (
                    cell(row[name], "mean", "sd", ".2f"),
                    cell(row[name], "difference", "difference_sd", "+.2f"),
                )
            ),
        ]
        for row in rows
    ]


def _mix(mix: list[float] | None) -> str:
    return "" if mix is None else " / ".join(f"{100 * m:.1f}" for m in mix)
