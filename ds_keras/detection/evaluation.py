"""Average precision, as COCO measures it."""

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from ds_keras.detection.boxes import MOST, Detections

if TYPE_CHECKING:
    from ds_keras.detection.data.source import Boxes, BoxSource
    from ds_keras.detection.network import DSDetector

MISSING = "average precision is measured by pycocotools: pip install 'ds_keras[detection]'"
BATCH, LEAST = 32, 0.01  # images at a time; smallest score that counts
SIDE = 1000.0  # COCO counts in pixels: boxes are measured on images of this width and height


def evaluate(detector: Any, source: "BoxSource", level: int | None = None) -> dict[str, Any]:
    """Average precision of a level on a set of images.

    Args:
        detector: ``DSDetector`` or ``Session``.
        source: the images.
        level: default the largest.

    Returns:
        See ``average_precision``.

    Raises:
        ValueError: bad level, an image that cannot be read, or other classes than the detector's.
        ImportError: pycocotools is missing.

    Example:
        >>> evaluate(model, sets.test, level=0)["map50"]
    """
    check_classes(detector, source)
    return average_precision(found_on(detector, source, level), source.things, source.class_names)


def evaluate_levels(model: "DSDetector", source: "BoxSource") -> list[dict[str, Any]]:
    """Cost and average precision of every level of a network.

    Args:
        model: the detector.
        source: the images.

    Returns:
        For each level {"level", "madds"}, and what ``evaluate`` gives.

    Raises:
        ValueError: as ``evaluate``.
        ImportError: pycocotools is missing.
    """
    rows = []
    for level, costs in enumerate(model.costs):
        logging.info("measuring level %d on %d images", level, len(source))
        rows.append({"level": level, "madds": costs.start + costs.body, **evaluate(model, source, level)})
    return rows


def check_classes(detector: Any, source: "BoxSource") -> None:
    """Refuses images of other classes than the detector's.

    Raises:
        ValueError: their number differs.
    """
    if detector.num_classes != len(source.class_names):
        raise ValueError(f"source must have {detector.num_classes} classes, received {source.class_names}")


def found_on(detector: Any, source: "BoxSource", level: int | None = None) -> list[Detections]:
    """All that a level finds on a set of images, scores of nearly 0 included; arguments as of ``evaluate``."""
    found: list[Detections] = []
    for i in range(0, len(source), BATCH):
        images = [source.image(k) for k in range(i, min(i + BATCH, len(source)))]
        found += detector.detect(images, level=level, threshold=LEAST)
    return found


def average_precision(
    found: Sequence[Detections], truth: "Sequence[Boxes]", class_names: Sequence[str]
) -> dict[str, Any]:
    """Mean average precision of what was found on a set of images, by pycocotools.

    A difficult box counts as COCO's crowd does: neither finding nor missing it is counted.

    Args:
        found: of each image, scores of nearly 0 included: a threshold makes the figures smaller. Of an image the 100
            surest count.
        truth: the boxes on it.
        class_names: one name for each class.

    Returns:
        {"map50": at an intersection over union of 0.5; "map": mean over 0.5, 0.55, ..., 0.95; "classes": {name: average
        precision at 0.5}}, each in [0, 1]; a class that is not in ``truth`` is left out.

    Raises:
        ValueError: no box in ``truth``, or another number of images.
        ImportError: pycocotools is missing.

    Example:
        >>> average_precision([model.detect(x, threshold=0.01)[0] for x in images], things, names)["map50"]
    """
    measured = _matched(found, truth, class_names)
    with contextlib.redirect_stdout(io.StringIO()):
        measured.accumulate()
    precision = measured.eval["precision"][:, :, :, 0, -1]  # (IoU, recall, class), all sizes, 100 boxes for each image
    at_half = {name: _mean(precision[0, :, k]) for k, name in enumerate(class_names)}
    known = {name: value for name, value in at_half.items() if value is not None}
    return {"map50": _mean(precision[0]) or 0.0, "map": _mean(precision) or 0.0, "classes": known}


def best_threshold(
    found: Sequence[Detections], truth: "Sequence[Boxes]", class_names: Sequence[str]
) -> dict[str, float]:
    """The score from which on boxes are best shown: at the largest F1 of all classes together.

    Args:
        found: as in ``average_precision``, of images that training did not see.
        truth: the boxes on them.
        class_names: one name for each class.

    Returns:
        {"threshold": the score, "precision" and "recall": of the boxes from there on, at an intersection over union of
        0.5}.

    Raises:
        ValueError: no box in ``truth``, or another number of images.
        ImportError: pycocotools is missing.

    Example:
        >>> best_threshold([model.detect(x, threshold=0.01)[0] for x in images], things, names)["threshold"]
    """
    rows = [row for row in _matched(found, truth, class_names).evalImgs if row is not None]
    counted = [~row["dtIgnore"][0].astype(bool) for row in rows]
    scores = np.concatenate([np.asarray(row["dtScores"])[kept] for row, kept in zip(rows, counted, strict=True)])
    right = np.concatenate([row["dtMatches"][0][kept] > 0 for row, kept in zip(rows, counted, strict=True)])
    total = sum(int(np.sum(np.asarray(row["gtIgnore"]) == 0)) for row in rows)
    if not len(scores):
        return {"threshold": 1.0, "precision": 0.0, "recall": 0.0}
    order = np.argsort(-scores, kind="stable")
    hits, shown = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    best = int(np.argmax(2 * hits / (shown + total)))
    precision, recall = hits[best] / shown[best], hits[best] / max(total, 1)
    return {"threshold": float(scores[order][best]), "precision": float(precision), "recall": float(recall)}


def _matched(found: Sequence[Detections], truth: "Sequence[Boxes]", class_names: Sequence[str]) -> Any:
    """The evaluation of pycocotools, with found boxes matched to true ones."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ImportError(MISSING) from error
    if len(found) != len(truth):
        raise ValueError(f"found must be of each of {len(truth)} images, received {len(found)}")
    if not any(len(one.boxes) for one in truth):
        raise ValueError("truth must hold at least one box, received none")
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO()
        truths.dataset = _dataset(truth, len(class_names))
        truths.createIndex()
        rows = [row for i, one in enumerate(found) for row in _rows(i, one)]
        results = COCO()
        results.dataset = {**truths.dataset, "annotations": rows}
        results.createIndex()
        measured = COCOeval(truths, results, "bbox")
        params = measured.params  # boxes of all sizes, 100 of an image: others are not asked for
        params.areaRng, params.areaRngLbl, params.maxDets = params.areaRng[:1], params.areaRngLbl[:1], [MOST]
        measured.evaluate()
    return measured


def _mean(values: np.ndarray) -> float | None:
    """The mean of what COCO could measure; it writes -1 where there is nothing to find."""
    values = values[values > -1]
    return float(values.mean()) if values.size else None


def _dataset(truth: "Sequence[Boxes]", classes: int) -> dict[str, list]:
    rows: list[dict[str, Any]] = []
    for i, one in enumerate(truth):
        for box, k, difficult in zip(one.boxes, one.classes, one.difficult, strict=True):
            rows.append({**_row(i, box, k, len(rows)), "iscrowd": int(difficult)})
    images = [{"id": i} for i in range(len(truth))]
    return {"images": images, "annotations": rows, "categories": [{"id": k} for k in range(classes)]}


def _rows(image: int, found: Detections) -> list[dict[str, Any]]:
    rows = []
    for i, (box, k, score) in enumerate(zip(found.boxes, found.classes, found.scores, strict=True)):
        rows.append({**_row(image, box, k, image * 10_000 + i), "score": float(score)})
    return rows


def _row(image: int, box: np.ndarray, k: Any, number: int) -> dict[str, Any]:
    x0, y0, x1, y1 = (SIDE * box.astype(float)).tolist()
    sides = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
    return {"id": number + 1, "image_id": image, "category_id": int(k), "iscrowd": 0, **sides}
