"""Trains a detector from a preset within some minutes: boxes in, a preset, TFLite files and figures out."""

import math
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from ds_keras import training, zoo
from ds_keras.core import cost
from ds_keras.core.files import expanded
from ds_keras.detection.data import load_data
from ds_keras.detection.data.pipeline import batches
from ds_keras.detection.data.source import BoxSource
from ds_keras.detection.evaluation import evaluate
from ds_keras.detection.export import to_tflite
from ds_keras.detection.network import DSDetector
from ds_keras.detection.presets import save
from ds_keras.detection.trainer import DetectorTrainer

PIXELS, MULTIPLE, LEAST = 50_000, 32, 96  # of an image; what divides its sides; a side at the least
TRAINING = 0.85  # share of the time; the rest is for statistics, figures and files
WARM_UP = 0.05  # share of the training in which the learning rate rises
CALIBRATION = 8  # batches
EVERY = 20.0  # seconds between lines of progress


def train(
    start: str | os.PathLike,
    data: str,
    minutes: float = 15.0,
    workdir: str | os.PathLike = "runs/detector",
    image_size: Any = None,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> DSDetector:
    """Trains a detector on images with boxes, starting from a classifier.

    Writes ``workdir/preset`` (see ``detection.load``) with ``metrics.json``, and ``workdir/tflite`` (see ``Session``).
    The test images are looked at once, at the end.

    Args:
        start: preset of a network of convolutions, alias or directory.
        data: see ``detection.load_data``.
        minutes: for everything, roughly: the machine's speed decides how many steps that are.
        workdir: created if needed.
        image_size: pixels, an int or (height, width), multiples of 32; default about 50,000 pixels of the shape of the
            first image.
        batch_size: images in a step.
        learning_rate: largest one, of Adam.
        seed: of order and augmentation.

    Returns:
        The detector.

    Raises:
        ValueError: bad argument, or a damaged set of images.

    Example:
        >>> model = detection.train("ds_mobilenet", "voc:blood_cells", minutes=15, workdir="runs/cells")
    """
    for name, value in {"minutes": minutes, "learning_rate": learning_rate}.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, received {value!r}")
    began, workdir = time.monotonic(), expanded(workdir)
    sets = load_data(data)
    logging.info("train: %r; test: %r%s", sets.train, sets.test, ", held out of the images" if sets.held_out else "")
    backbone: Any = zoo.load(start, image_size=suited_size(sets.train) if image_size is None else image_size)
    model = DSDetector(backbone, labels=sets.class_names)
    trainer = DetectorTrainer(model, seed=seed)
    trainer.compile(keras.optimizers.Adam(learning_rate, global_clipnorm=10.0))
    stream = batches(sets.train, batch_size, model.image_shape[:2], seed)
    clock = Clock(began, TRAINING * 60 * minutes, learning_rate)
    trainer.fit(stream, steps_per_epoch=10**6, callbacks=[clock], shuffle=False, verbose=0)
    plain = batches(sets.train, batch_size, model.image_shape[:2], seed, augment=False)
    few = min(CALIBRATION, math.ceil(len(sets.train) / batch_size))
    logging.info("measuring the BatchNorm statistics of every level")
    training.calibrate_batch_norm(model, plain.take(few).map(lambda images, *_: images).cache(), start=False)
    metrics = figures(model, sets.test, data, str(start), sets.held_out, clock.steps * batch_size / len(sets.train))
    save(model, workdir / "preset", metrics)
    to_tflite(model, workdir / "tflite")
    return model


def figures(
    model: DSDetector, source: BoxSource, data: str, start: str, held_out: bool, epochs: float
) -> dict[str, Any]:
    """What ``metrics.json`` says: average precision and cost of every level."""
    rows = []
    for level in range(len(model.levels)):
        found, madds = evaluate(model, source, level), cost.madds(model, level)
        rows.append({"level": level, "madds": madds, **found})
        logging.info("level %d: mAP@0.5 %.3f, mAP %.3f, %.1f MMAdds", level, found["map50"], found["map"], madds / 1e6)
    part = "a fifth held out of the images" if held_out else "the test part"
    name = Path(data.partition(":")[2]).name  # not where it lies on this machine
    size = list(model.image_shape)
    about = {"start": Path(start).name, "epochs": round(epochs, 1), "input_shape": size, "images": len(source)}
    return {"data": name, "measured_on": part, **about, "levels": rows}


def suited_size(source: BoxSource) -> tuple[int, int]:
    """(height, width) of about ``PIXELS`` pixels, in the shape of the first image."""
    height, width = source.image(0).shape[:2]
    sides = (side * math.sqrt(PIXELS / (height * width)) for side in (height, width))
    high, wide = (max(LEAST, MULTIPLE * round(side / MULTIPLE)) for side in sides)
    return high, wide


class Clock(keras.callbacks.Callback):
    """Sets the learning rate by the share of the time that is gone, says how far it is, and stops at the end.

    Args:
        began: what ``time.monotonic`` gave then.
        seconds: from there to the end of the training.
        rate: largest learning rate; it rises from 0, and falls to 0 along a cosine.
    """

    def __init__(self, began: float, seconds: float, rate: float):
        super().__init__()
        self.began, self.seconds, self.rate = began, seconds, rate
        self.steps, self.said = 0, 0.0
        self.first: float | None = None  # the first step takes long: it traces

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the learning rate."""
        first = self.began if self.first is None else self.first
        gone = (time.monotonic() - first) / max(self.seconds - (first - self.began), 1e-9) if self.first else 0.0
        falling = 0.5 + 0.5 * math.cos(math.pi * min(gone, 1.0))
        self.model.optimizer.learning_rate = self.rate * min(1.0, (gone + 0.002) / WARM_UP) * falling

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Says how far it is."""
        now = time.monotonic()
        self.first = self.first or now
        self.steps += 1
        if now - self.said > EVERY or now - self.began > self.seconds:
            self.said = now
            shown = {name: float(np.asarray(value)) for name, value in (logs or {}).items()}
            rows = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in shown.items())
            logging.info("%.0f of %.0f s, step %d: %s", now - self.began, self.seconds, self.steps, rows)
            self.model.reset_metrics()
        if now - self.began > self.seconds:
            self.model.stop_training = True
