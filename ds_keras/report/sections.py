"""The sections of a report on routing, as markup: all policies over cost and time, levels, budgets."""

import platform
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras import evaluation
from ds_keras.policies.base import Routed
from ds_keras.policies.registry import ABOUT
from ds_keras.report import figures, page
from ds_keras.report.facts import Facts, mega, policy_name, two
from ds_keras.routing import replay as curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ds_keras.models.supernet import Supernet

KNOWN = {"Data": "data", "Trained on": "trained_on", "Chosen on": "chosen_on", "Licence of the weights": "licence"}


def summary(facts: Facts) -> str:
    """What was measured, and the main figure in a sentence."""
    model, spent, best = facts.model, float(facts.routed.madds.mean()), 100 * facts.predictions.correct[-1].mean()
    height, width, channels = model.image_shape
    shape = f"{len(model.levels)} slice levels, {model.num_classes} classes, images {height} x {width} x {channels}"
    known = {title: facts.card[key] for title, key in KNOWN.items() if key in facts.card}
    return "\n".join(
        [
            page.paragraph(
                f"Routed by {policy_name(model)}, {100 * facts.correct.mean():.2f} % of {len(facts.labels)} images are "
                f"right at {mega(spent)} million multiply-adds (MAdds) an image, {100 * spent / facts.largest:.1f} % "
                f"of the largest level's; the largest level alone has {best:.2f} % at {mega(facts.largest)}."
            ),
            *([] if facts.card.get("complete", True) else [page.paragraph("A trial run: training was cut short.")]),
            page.listing({"Network": f"{type(model).__name__}, {shape}", "Images": facts.source.name, **known}),
        ]
    )


def madds_figure(
    model: "Supernet", found: dict[str, curves.Curve], routed: Routed, labels: np.ndarray, title: str = ""
) -> "Figure":
    """The main plot, in million multiply-adds."""
    series = {name: figures.Series(curve.madds(model) / 1e6, curve.top1) for name, curve in found.items()}
    chosen = float(routed.madds.mean()) / 1e6, 100 * float((routed.logits.argmax(1) == labels).mean())
    return figures.accuracy_over_cost(series, "million multiply-adds", chosen, title)


def accuracy_over_madds(facts: Facts) -> str:
    """All policies against multiply-adds: the plot, and the table at equal cost."""
    figure = madds_figure(facts.model, facts.curves, facts.routed, facts.labels)
    found = evaluation.equal_cost(facts.model, facts.curves)
    return page.section(
        "Accuracy against multiply-adds",
        page.plot(
            figures.render(figure),
            "Top-1 accuracy of every policy over its average multiply-adds; the table below has the values",
            "Every policy over its whole range. The numbers mark the levels.",
        ),
        page.table(
            "Top-1 % at equal average cost (share of the largest level's MAdds), and how many times fewer MAdds a "
            "policy takes at a loss of accuracy; empty: out of its range",
            ["policy", *(f"{share} %" for share in found["shares"]), *(f"-{drop} points" for drop in found["drops"])],
            [
                [row["policy"], *(two(v) for v in row["top1"]), *(v and f"{v:.2f}x" for v in row["saved"])]
                for row in found["rows"]
            ],
        ),
        page.paragraph(f"Oracle: {found['oracle']['top1']:.2f} % at {found['oracle']['share']:.1f} %."),
        page.listing({name: text for name, text in ABOUT.items() if name in facts.curves}),
        page.paragraph(
            "Shifts, thresholds and temperatures come from held-out images. Nothing was fitted to these images, but "
            "what a policy saves is read off its curve on them."
        ),
    )


def accuracy_over_milliseconds(facts: Facts, timing: dict[str, Any] | None) -> str:
    """All policies against milliseconds, composed of measured parts; the default policy as measured too."""
    title = "Accuracy against milliseconds"
    if timing is None:
        return page.section(
            title, page.paragraph("Not measured: this page was made without a bundle or the figures of a device.")
        )
    times = timing["times"]
    series = {name: figures.Series(curve.milliseconds(times), curve.top1) for name, curve in facts.curves.items()}
    passes = curves.passes(facts.model, facts.predictions).mean(0)
    chosen = float(times.of(passes, facts.model.default_policy)), 100 * float(facts.correct.mean())
    figure = figures.accuracy_over_cost(series, "ms (LiteRT, one thread)", chosen)
    return page.section(
        title,
        page.plot(
            figures.render(figure),
            "Top-1 accuracy of every policy over its average milliseconds",
            "Every policy: the sum of the measured times of the parts that it runs.",
        ),
        page.table(
            "Milliseconds of one image",
            ["part", "ms", "with the start, ms"],
            [
                ["start (shared by all levels, with the session's own work)", f"{times.start:.4f}", None],
                ["gate, with the second file that it needs", f"{times.gate:.4f}", None],
                ["confidence, for each pass of a cascade", f"{times.judge:.4f}", None],
                *([f"level {k}", f"{ms:.4f}", f"{times.start + ms:.4f}"] for k, ms in enumerate(times.bodies)),
            ],
        ),
        page.paragraph(_on_device(timing) if "device" in timing else _on_this_machine(timing)),
    )


def _on_this_machine(timing: dict[str, Any]) -> str:
    """How the default policy runs, and where."""
    return (
        f"Check on {timing['images']} of the images, one at a time: the default policy takes "
        f"{timing['routed']:.4f} ms as it runs, {timing['composed']:.4f} ms as the sum of its parts; the largest "
        f"level takes {timing['largest']:.4f} ms as it runs, in pairs with the former. Measured on "
        f"{platform.machine()}, {platform.system()}."
    )


def _on_device(timing: dict[str, Any]) -> str:
    """The same for a page of ``ds-keras web``."""
    text = "No picture was shown to the page, so routing was not timed as it runs."
    if timing["images"]:
        text = (
            f"On the {timing['images']} pictures that were shown to the page, policy {timing['policy']!r} takes "
            f"{timing['routed']:.4f} ms as it runs, and the largest level {timing['largest']:.4f} ms."
        )
    return f"{text} Measured in a browser: {timing['device']}."


def levels(facts: Facts) -> str:
    """Every level, who ends there, and what budgets ask and spend."""
    model, routed = facts.model, facts.routed
    rows = []
    for row in evaluation.level_rows(model, facts.predictions.logits_by_level, facts.labels):
        here = routed.levels == row["level"]
        ended = f"{100 * facts.correct[here].mean():.2f}" if here.any() else None
        cells = [row["level"], two(row["top1"]), mega(row["madds"]), row["params"], f"{100 * here.mean():.1f}", ended]
        rows.append(cells)
    found = evaluation.budgets(model, facts.predictions)
    asked, mix = [row["asked"] for row in found["rows"]], [row["mix"] for row in found["rows"]]
    return page.section(
        "Levels, level mix and budgets",
        page.table(
            f"Every level alone, and the images that {policy_name(model)} ends at it",
            ["level", "top-1 %", "MMAdds", "parameters", "images that end here, %", "of these right, %"],
            rows,
        ),
        page.plot(
            figures.render(figures.mixes(asked, mix)),
            "Share of the images that end at each level, for ten budgets; the table below has the values",
            f"Level mix of the {found['policy']} at ten budgets.",
        ),
        page.table(
            f"Budget asked of the {found['policy']} and spent on these images, % of the largest level's MAdds",
            ["asked %", "spent %", "top-1 %", *(f"ends at {k}, %" for k in range(len(model.levels)))],
            [
                [r["asked"], r["spent"], two(r["top1"]), *(f"{100 * share:.1f}" for share in r["mix"])]
                for r in found["rows"]
            ],
        ),
    )
