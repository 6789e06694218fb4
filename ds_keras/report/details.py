"""The sections of a report on calibration, classes, training, pictures and origin, as markup."""

import platform
import re
from importlib.metadata import version
from typing import Any

import numpy as np

from ds_keras.policies.confidence import reliability
from ds_keras.report import figures, page
from ds_keras.report.facts import Facts, two

PICTURES, PICTURES_TITLE = 12, "Images at the smallest and the largest level"
GATE_MIX = "val_gate_mix"
TRAINED = (  # label, start and end of the names in the log, factor
    ("held-out top-1, %", "val_", "_accuracy", 100),
    ("loss", "", "_loss", 1),
    ("gate's mix of levels on held-out images, %", GATE_MIX, "", 100),
)
PACKAGES = ("ds_keras", "tensorflow", "keras", "numpy", "matplotlib")


def calibration(facts: Facts) -> str:
    """Reliability of the smallest and the largest level, before and after the held-out temperature."""
    parts, rows = {}, []
    for level in sorted({0, len(facts.model.levels) - 1}):
        logits = facts.predictions.logits_by_level[level]
        parts[f"level {level}"] = plain = reliability(logits, facts.labels)
        cells = [f"level {level}", two(100 * plain.ece), None, None]
        if facts.temperatures is not None:
            scaled = reliability(logits, facts.labels, facts.temperatures[level])
            parts[f"level {level}, with temperature"] = scaled
            cells[2:] = f"{facts.temperatures[level]:.3f}", two(100 * scaled.ece)
        rows.append(cells)
    return page.section(
        "Calibration",
        page.plot(
            figures.render(figures.reliability(parts)),
            "Reliability diagram: accuracy over confidence for the smallest and the largest level",
            "How often an answer of a given confidence is right; above the diagonal a level is too modest.",
        ),
        page.table(
            "Expected calibration error, 15 bins; the temperature was fitted on held-out images",
            ["level", "ECE, %", "temperature", "ECE with it, %"],
            rows,
        ),
    )


def classes(facts: Facts) -> str:
    """Every class: accuracy of the smallest, the largest and the routed network, and where its images end."""
    levels = range(len(facts.model.levels))
    rows = []
    for k, name in enumerate(facts.names):
        here = facts.labels == k
        if here.any():
            accuracy = [facts.predictions.correct[0], facts.predictions.correct[-1], facts.correct]
            ended = [facts.routed.levels[here] == level for level in levels]
            rows.append([name, int(here.sum()), *(f"{100 * part[here].mean():.1f}" for part in accuracy)])
            rows[-1] += [f"{100 * part.mean():.1f}" for part in ended]
    header = ["class", "images", "smallest, %", "largest, %", "routed, %", *(f"ends at {level}, %" for level in levels)]
    return page.section(
        "Classes", page.table("Accuracy of every class, and the level that its images end at", header, rows)
    )


def training(log: dict[str, list[dict[str, Any]]] | None) -> str:
    """Held-out accuracy, losses, and the gate's mix once it is trained."""
    title = "Training"
    if log is None:
        return page.section(
            title, page.paragraph("No curves: this page was made from the preset, not from a run's log.")
        )
    parts = []
    for stage, rows in log.items():
        for what, start, end, scale in TRAINED:
            names = [name for name in rows[0] if name.startswith(start) and name.endswith(end)]
            if not names or (start == GATE_MIX and stage == "stage1"):
                continue
            lines = {}
            for name in names:
                held = [row for row in rows if name in row]
                values = [scale * row[name] for row in held]
                label = re.sub(r"^(level)?(?=\d)", "level ", name.removeprefix(start).removesuffix(end))
                lines[label] = [row["step"] for row in held], values
            figure = figures.training(lines, what)
            parts.append(page.plot(figures.render(figure), f"{what} over the steps of {stage}", f"{stage}: {what}"))
    return page.section(title, page.plots(*parts))


def images(facts: Facts) -> str:
    """Pictures that ended at the smallest and at the largest level: drawn at random, not picked."""
    parts = []
    for level in sorted({0, len(facts.model.levels) - 1}):
        here = np.flatnonzero(facts.routed.levels == level)
        chosen = np.sort(np.random.default_rng(0).permutation(here)[:PICTURES])
        parts.append(page.paragraph(f"Level {level}: {len(here)} images, {len(chosen)} of them drawn at random."))
        rows = []
        for i in chosen:
            name, said = facts.names[facts.labels[i]], facts.names[facts.routed.logits[i].argmax()]
            rows.append((facts.images[i], name if facts.correct[i] else f"{name}, says {said} (wrong)"))
        parts.append(page.pictures(rows))
    return page.section(PICTURES_TITLE, *parts)


def no_images() -> str:
    """Why there are none."""
    return page.section(
        PICTURES_TITLE,
        page.paragraph("Left out, so that the page can be passed on whatever the terms of the data."),
    )


def origin(facts: Facts, command: str) -> str:
    """What repeats this page, and of what it is made."""
    found = [page.code(command)] if command else []
    if "command" in facts.card:
        found += [page.paragraph("The network was trained with:"), page.code(facts.card["command"])]
    return page.section(
        "Command and versions",
        *found,
        versions(),
        page.listing({f"sha256 of {name}": value for name, value in facts.card.get("sha256", {}).items()}),
    )


def versions() -> str:
    """Of the packages, and the machine."""
    machine = f"Python {platform.python_version()}, {platform.system()}, {platform.machine()}"
    return page.listing({name: version(name) for name in PACKAGES} | {"Machine": machine})
