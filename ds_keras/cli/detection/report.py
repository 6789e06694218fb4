"""The report of a detector, for ``ds-keras report``."""

from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.detection.boxes import SHOWN

PICTURES = 6  # at every level, drawn at random


def write(flags: Any, preset: str, command: str) -> Path:
    """Measures a detector on the test part of its data and writes its report.

    Args:
        flags: of ``ds-keras report``.
        preset: folder of the detector.
        command: that repeats the report.

    Returns:
        The path.
    """
    from ds_keras import detection
    from ds_keras.detection.evaluation import evaluate_levels
    from ds_keras.detection.presets import facts
    from ds_keras.report.detector import write_detector_report

    if flags.device is not None:
        raise ValueError("--device is for classifiers, --preset is a detector: give --bundle")
    if flags.by_position:
        raise ValueError("--by_position is for classifiers, --preset is a detector")
    model, sets = detection.load(preset), detection.load_data(flags.data)
    source = sets.part(flags.split)
    rows = evaluate_levels(model, source)
    if flags.bundle is not None:
        for row, ms in zip(rows, _milliseconds(flags, model), strict=True):
            row["ms"] = ms
    pictures = _pictures(model, source) if flags.images else None
    return write_detector_report(flags.output, model.name, facts(model, source), rows, pictures, command)


def _milliseconds(flags: Any, model: Any) -> list[float]:
    """Of every level of the bundle, each timed in turn with the largest."""
    from ds_keras import detection
    from ds_keras.benchmarks import bundle as benchmark
    from ds_keras.cli.benchmark import common
    from ds_keras.cli.detection.timing import Detecting

    session = detection.Session(flags.bundle, keep=1000)
    if (session.shape, session.levels) != (model.image_shape, list(range(len(model.levels)))):
        raise ValueError(f"--bundle must be that of the detector, received {flags.bundle!r}")
    rows = benchmark.levels(Detecting(session), common.noise(2, session.shape), flags.rounds)
    return [row["a_ms"] for row in rows]


def _pictures(model: Any, source: Any) -> dict[str, list[tuple[np.ndarray, str]]]:
    """Images with the true boxes, and with those of every level."""
    from ds_keras.detection import Detections
    from ds_keras.detection.boxes import draw

    chosen = np.sort(np.random.default_rng(0).permutation(len(source))[:PICTURES])
    images, labels = [source.image(i) for i in chosen], tuple(source.class_names)
    things = [source.things[i] for i in chosen]
    truth = [Detections(one.boxes, np.ones(len(one.boxes), "float32"), one.classes, labels) for one in things]
    found = {"What is there": truth}
    for level in range(len(model.levels)):
        found[f"Level {level}: scores of {SHOWN} and more"] = model.detect(images, level)
    return {
        title: [
            (np.asarray(draw(image, one)), f"image {i}: {len(one)} boxes")
            for i, image, one in zip(chosen, images, boxes, strict=True)
        ]
        for title, boxes in found.items()
    }
