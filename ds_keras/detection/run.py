"""Trains a detector from a preset within some minutes: boxes in; a preset, a bundle, TFLite files and a report out."""

import importlib.util
import json
import math
import os
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from ds_keras import training, zoo
from ds_keras.core import cost
from ds_keras.core.files import expanded, read_json, write_json
from ds_keras.core.timing import machine
from ds_keras.detection import routing
from ds_keras.detection.data import load_data
from ds_keras.detection.data.pipeline import batches
from ds_keras.detection.data.source import BoxSets, BoxSource
from ds_keras.detection.evaluation import best_threshold, evaluate_levels
from ds_keras.detection.export import to_bundle, to_tflite
from ds_keras.detection.network import DSDetector
from ds_keras.detection.presets import facts, load, render, save
from ds_keras.detection.trainer import DetectorTrainer
from ds_keras.experiments.loop import Clock, Loop
from ds_keras.report.detector import write_detector_report

PIXELS, MULTIPLE, LEAST = 50_000, 32, 96  # of an image; what divides its sides; a side at the least
TRAINING = 0.85  # share of the time; the rest is for statistics, figures and files
LEAST_SHARE = 0.5  # of a batch, that a large level sees
BALANCE = 1.0  # 0: all things count alike; 1: all classes do
CALIBRATION = 8  # batches
STEPS = 10**9  # at the most: the clock ends the training
STAGE, RECORD = "training", "run.json"  # in the workdir: folder of checkpoints, what the run is
REPORT, CASCADE = "report.html", "routing.json"  # there too
THRESHOLDS = 11  # of a cascade, that are measured
FEW = 100  # steps, after which a detector finds next to nothing


def train(
    start: str | os.PathLike,
    data: str,
    minutes: float = 15.0,
    workdir: str | os.PathLike = "runs/detector",
    image_size: Any = None,
    batch_size: int = 8,
    learning_rate: float = 3e-3,
    seed: int = 0,
    keep_val: bool = False,
    name: str | None = None,
    terms: str = "",
    licence: str = "",
    command: str = "",
) -> DSDetector:
    """Trains a detector on images with boxes, starting from a classifier.

    Writes ``workdir/preset`` (see ``detection.load``) with ``metrics.json``, a card and ``model.dsbundle`` (see
    ``Session``), ``workdir/report.html``, and ``workdir/tflite``, a file for each level. With ``keep_val`` the bundle
    holds a cascade, which lies in ``workdir/routing.json`` too. The test images are looked at once, at the end. The
    same call goes on with a run that was killed, from its last checkpoint, which is at most about a minute old; after
    the end it gives the finished detector. With more minutes it trains on.

    Args:
        start: preset of a network of convolutions, alias or directory.
        data: see ``detection.load_data``.
        minutes: for everything, roughly, those before a kill included: the machine's speed decides how many steps that
            are.
        workdir: created if needed.
        image_size: pixels, an int or (height, width), multiples of 32; default about 50,000 pixels of the shape of the
            first image.
        batch_size: images in a step.
        learning_rate: largest one, of Adam, for the head; the backbone has a quarter of it.
        seed: of order and augmentation.
        keep_val: does not learn from the part "val", or from a fifth of the training images where there is none; each
            level's threshold, and a cascade, are chosen on it.
        name: of the preset, for the card; default the name of ``workdir``.
        terms: one line for the card: what the images are and their terms.
        licence: of the weights, for the card.
        command: that repeats the run, for the card.

    Returns:
        The detector.

    Raises:
        ValueError: bad argument, a damaged set of images, or a workdir of another run.
        FloatingPointError: a loss was not finite.

    Example:
        >>> model = detection.train("ds_mobilenet", "voc:blood_cells", minutes=15, workdir="runs/cells")
    """
    for argument, value in {"minutes": minutes, "learning_rate": learning_rate}.items():
        if not value > 0:
            raise ValueError(f"{argument} must be positive, received {value!r}")
    workdir, sets = expanded(workdir), load_data(data)
    own_val = sets.val is not None
    sets = sets.with_val().without_val() if keep_val else sets
    for part in ("train", "test", *(["val"] if keep_val else [])):
        if not sets.part(part).count:
            raise ValueError(f"data must have boxes in its part {part}, received {data!r}: {sets.part(part)!r}")
    logging.info("train: %r; test: %r%s", sets.train, sets.test, ", held out of the images" if sets.held_out else "")
    if batch_size > len(sets.train):
        raise ValueError(f"batch_size must be at most {len(sets.train)}, the training images, received {batch_size!r}")
    size = suited_size(sets.train) if image_size is None else image_size
    request = {"start": Path(start).name, "train": repr(sets.train), "test": repr(sets.test), "image_size": size}
    request |= {"batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    record = _claim(workdir, request)
    if record["finished"] >= minutes:
        logging.info("%s holds the finished detector of this run; more minutes would train it on", workdir)
        return load(workdir / "preset")
    model = DSDetector(zoo.load(start, image_size=size), labels=sets.class_names)
    done = fit(model, sets.train, workdir, 60 * TRAINING * minutes, batch_size, learning_rate, seed)
    held_out = routing.predict(model, sets.part("val")) if keep_val else None
    cascade = routing.fit(held_out, THRESHOLDS) if held_out is not None and len(model.levels) > 1 else None
    record["test_reads"] += 1
    write_json(workdir / RECORD, record)
    metrics = {
        "experiment": name or workdir.resolve().name,
        "command": command or f"detection.train({Path(start).name!r}, ...)",
        "licence": licence or "not stated",
        **figures(model, sets, data, Path(start).name),
        **({} if held_out is None else chosen_on(held_out, own_val)),
        **({} if cascade is None else {"cascade": {"levels": cascade.spec.cascade, "confidence": cascade.confidence}}),
        **({"data": terms} if terms else {}),
        "test_reads": record["test_reads"],
        "epochs": round(done.steps * batch_size / len(sets.train), 1),
        "complete": True,
        "seconds": {"training": round(done.seconds)},
        "machine": machine(),
    }
    for row, thresholds in zip(metrics["levels"], best_thresholds(held_out), strict=False):
        row["chosen"] = thresholds
    _write(model, workdir, metrics, cascade, facts(model, sets.test))
    write_json(workdir / RECORD, {**record, "finished": minutes})
    if done.steps < FEW:
        logging.warning(
            "the detector has learnt for %d steps only, in %d s: it is not usable, for it takes some hundred steps "
            "until things are found. Setting up and the first step take long on a busy machine: give several times "
            "as many minutes as %g, and the same command goes on",
            *(done.steps, done.seconds, minutes),
        )
    return model


def _write(
    model: DSDetector, workdir: Path, metrics: dict, cascade: routing.DetectionCascade | None, about: dict
) -> None:
    """Preset, card, report, and the files for devices where LiteRT is installed."""
    save(model, workdir / "preset", metrics, render(model, metrics))
    write_detector_report(workdir / REPORT, model.name, about, metrics["levels"], command=metrics["command"])
    if cascade is not None:
        cascade.write(workdir / CASCADE)
    if importlib.util.find_spec("ai_edge_litert") is None:
        logging.warning("no bundle and no TFLite files without ai_edge_litert: pip install 'ds_keras[runtime]'")
        return
    licence = metrics["licence"]
    to_bundle(model, workdir / "preset" / zoo.BUNDLE, "float16", licence=licence, cascade=cascade)
    to_tflite(model, workdir / "tflite", licence=licence)


def _claim(workdir: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Marks a directory as a run's; returns what is known of it: minutes of its last end, 0 before, and test reads."""
    path, new = workdir / RECORD, {"request": json.loads(json.dumps(request)), "finished": 0.0, "test_reads": 0}
    if not path.is_file():
        write_json(path, new)
        return new
    found = read_json(path)
    known = {**new, **found} if isinstance(found, dict) else {}
    plain = isinstance(known.get("finished"), int | float) and isinstance(known.get("test_reads"), int)
    if not plain or known["request"] != new["request"]:
        raise ValueError(
            f"workdir {str(workdir)!r} holds another run ({path}); give an empty directory, or the same arguments to "
            "go on with it"
        )
    return known


class Done(NamedTuple):
    """Steps and seconds of a training, those before a kill included."""

    steps: int
    seconds: float


def fit(
    model: DSDetector,
    source: BoxSource,
    workdir: Path,
    seconds: float,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
) -> Done:
    """Trains a detector by the clock, or goes on with it; the moving average takes its place.

    Args:
        model: trained in place.
        source: images to learn from.
        workdir: gets checkpoints and ``metrics.jsonl``.
        seconds: of training, those before a kill included.
        batch_size: images in a step.
        learning_rate: largest one.
        seed: of order and augmentation.

    Returns:
        ``Done``.
    """
    stream = partial(batches, source, batch_size, model.image_shape[:2], seed)
    few = stream(augment=False).take(min(CALIBRATION, len(source) // batch_size)).map(lambda images, *_: images).cache()
    model.build()
    if not any(workdir.glob(f"{STAGE}/step-*.npz")):
        logging.info("measuring the BatchNorm statistics of every level on these images")
        training.calibrate_batch_norm(model, few, start=False)
    trainer = DetectorTrainer(model, shares=shares_of(model), class_weights=rare_weights(source), seed=seed)
    trainer.compile(trainer.make_optimizer(learning_rate))
    loop = Loop(STAGE, trainer, workdir, len(source) // batch_size, STEPS, Clock(seconds, learning_rate))
    spent = loop.fit(lambda first, last, _: stream(start_step=first).take(last - first), None, STEPS, 0)
    logging.info("measuring the BatchNorm statistics of every level's head")
    trainer.finish(few)
    return Done(int(trainer.step), spent)


def shares_of(model: DSDetector) -> list[float]:
    """The share of a batch that each level sees: the smaller, the more it costs over the smallest."""
    costs = np.array([cost.madds(model, level) for level in range(len(model.levels))], float)
    return [float(share) for share in np.clip(costs[0] / costs, LEAST_SHARE, 1).round(2)]


def rare_weights(source: BoxSource) -> list[float]:
    """A weight for each class that is the larger, the fewer things it has: 1 for the most frequent one."""
    classes = np.concatenate([one.classes[~one.difficult] for one in source.things])
    counts = np.maximum(np.bincount(classes, minlength=len(source.class_names)), 1)
    return [float(weight) for weight in (counts.max() / counts) ** BALANCE]


def figures(model: DSDetector, sets: BoxSets, data: str, start: str) -> dict[str, Any]:
    """What ``metrics.json`` says of the images, and average precision and cost of every level."""
    rows = evaluate_levels(model, sets.test)
    for row in rows:
        shown = row["level"], row["map50"], row["map"], row["madds"] / 1e6
        logging.info("level %d: mAP@0.5 %.3f, mAP %.3f, %.1f MMAdds", *shown)
    part = "a fifth held out of the images" if sets.held_out else "the test part"
    return {
        "data": Path(data.partition(":")[2]).name,  # not where it lies on this machine
        "measured_on": part,
        "start": start,
        "input_shape": list(model.image_shape),
        "images": len(sets.test),
        "trained_on": f"{len(sets.train)} images with {sets.train.count} boxes, from {start}",
        "tested_on": f"{len(sets.test)} images with {sets.test.count} boxes, {part}",
        "levels": rows,
    }


def chosen_on(held_out: routing.Predictions, own_val: bool) -> dict[str, str]:
    """What ``metrics.json`` says of the images that thresholds and cascade were chosen on."""
    part = "the part val" if own_val else "a fifth of the training images"
    return {"chosen_on": f"{len(held_out)} held-out images, {part} (thresholds, cascade)"}


def best_thresholds(held_out: routing.Predictions | None) -> list[dict[str, float]]:
    """For each level the score from which on boxes are best shown; nothing without held-out images."""
    if held_out is None:
        return []
    return [best_threshold(found, held_out.truth, held_out.class_names) for found in held_out.found]


def suited_size(source: BoxSource) -> tuple[int, int]:
    """(height, width) of about ``PIXELS`` pixels, in the shape of the first image."""
    height, width = source.image(0).shape[:2]
    sides = (side * math.sqrt(PIXELS / (height * width)) for side in (height, width))
    high, wide = (max(LEAST, MULTIPLE * round(side / MULTIPLE)) for side in sides)
    return high, wide
