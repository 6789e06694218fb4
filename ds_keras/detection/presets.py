"""Detectors as folders of plain data, checked as the zoo's: JSON, weights and their hash; nothing in it is run."""

import os
from typing import Any

from ds_keras import models
from ds_keras.core.backend import at_most, float32_variables
from ds_keras.core.files import shown
from ds_keras.detection.data.source import BoxSource
from ds_keras.detection.network import DSDetector
from ds_keras.zoo import MORE_LAYERS, folder_of, save, weights
from ds_keras.zoo.cards import About, about, render
from ds_keras.zoo.markdown import table
from ds_keras.zoo.records import CONFIG, WEIGHTS, build, check_hashes, read_record, weights_file

__all__ = ["load", "render", "save"]

CODE = """from ds_keras import detection

model = detection.load("{name}")  # or the directory of this card
found = model.detect("photo.jpg")[0]"""
ENTRIES = {"backbone", "labels", "name", "num_classes", "strides", "width"}


@about.register
def _(model: DSDetector, metrics: dict[str, Any]) -> About:
    return About(f"{len(model.levels)} slice levels", "boxes, names, scores", _sections(model, metrics), CODE)


def _sections(model: DSDetector, metrics: dict[str, Any]) -> list[str]:
    """What a detector's levels find."""
    rows, names = metrics["levels"], list(metrics["levels"][0]["classes"])
    cells = [
        [row["level"], f"{row['madds'] / 1e6:.1f}", *(f"{value:.3f}" for value in (row["map50"], row["map"]))]
        + [f"{row['classes'][name]:.3f}" for name in names]
        for row in rows
    ]
    text = [
        "## Levels (test set)",
        table(["level", "MMAdds", "mAP@0.5", "mAP", *(f"{name}, AP@0.5" for name in names)], cells),
        "Average precision by pycocotools: at an intersection over union of 0.5, and the mean over 0.5 to 0.95.",
    ]
    if "picture" in metrics:
        text += [f"![{metrics['picture']['what']}]({metrics['picture']['file']})", metrics["picture"]["what"]]
    if all("chosen" in row for row in rows):
        chosen = [[row["level"], *(f"{value:.2f}" for value in row["chosen"].values())] for row in rows]
        text += [
            "## Thresholds (chosen on held-out images)",
            table(["level", "threshold", "precision", "recall"], chosen),
            "The score from which on the F1 of all boxes is largest, at an intersection over union of 0.5: "
            "`model.detect(photo, level=..., threshold=...)`.",
        ]
    if "cascade" in metrics:
        first, *others = metrics["cascade"]["levels"]
        text.append(
            f"The bundle holds a cascade, chosen on the same images: level {first}, and level "
            f"{', '.join(map(str, others))} where it is in doubt (by {metrics['cascade']['confidence']}). "
            "`ds-keras route_detector` compares it with fixed levels."
        )
    return text


def facts(model: DSDetector, source: BoxSource) -> dict[str, str]:
    """What a report says of a detector and the images that it was measured on."""
    height, width, channels = model.image_shape
    return {
        "Network": f"DSDetector on {type(model.backbone).__name__}, {len(model.levels)} slice levels",
        "Images": f"{source.name}, {len(source)} of them, scaled to {height} x {width} x {channels}",
        "Classes": ", ".join(model.labels or map(str, range(model.num_classes))),
    }


def load(name: str | os.PathLike) -> DSDetector:
    """Loads a trained detector.

    Args:
        name: preset (``zoo.list_models("detection")``), or a directory that ``save`` wrote.

    Returns:
        The detector, built.

    Raises:
        ValueError: a damaged folder, or none of a detector; the message names the file.

    Example:
        >>> model = detection.load("runs/cells/preset")
    """
    folder = folder_of(name)
    record, path = read_record(folder), folder / CONFIG
    files = {name: folder / name for name in record["sha256"]} | {WEIGHTS: weights_file(folder, record)}
    check_hashes(files, record["sha256"])
    config = record["config"]
    backbone = config.get("backbone")
    if record.get("class") != "DSDetector" or set(config) != ENTRIES or not isinstance(backbone, dict):
        raise ValueError(
            f"{path} must be of a DSDetector with {sorted(ENTRIES)}, received {shown(record.get('class'))}"
        )
    kind = backbone.get("class")
    if kind not in models.NETWORKS or not isinstance(backbone.get("config"), dict):
        raise ValueError(f"{path}: the backbone must be a model of ds_keras.models, received {shown(repr(kind))}")
    size = weights.measure(files[WEIGHTS])
    with float32_variables(), at_most(layers=2 * size.arrays + MORE_LAYERS, weights=size.values, source=WEIGHTS):
        inner = build(getattr(models, kind), backbone["config"], path, weights=False)
        try:
            model = DSDetector(**{**config, "backbone": inner})
            model.build()
        except Exception as error:  # a damaged value can fail anywhere
            raise ValueError(f"{path}: the config does not describe a DSDetector: {shown(error, 500)}") from error
    weights.load(model, files[WEIGHTS])
    return model
