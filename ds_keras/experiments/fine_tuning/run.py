"""Tunes a pretrained network to photos by the clock; it ends with preset, card, report and bundle."""

import importlib.util
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from absl import logging

from ds_keras import data, export, zoo
from ds_keras.core.files import read_json, write_json
from ds_keras.core.levels import require_levels
from ds_keras.data import Source
from ds_keras.experiments.config import Experiment, TrainingStage
from ds_keras.experiments.fine_tuning import plan
from ds_keras.experiments.fine_tuning.photos import Photos, divide, in_memory
from ds_keras.experiments.preset import write_preset
from ds_keras.experiments.pretrained import train_head
from ds_keras.experiments.run import Run, settings
from ds_keras.experiments.runner import train
from ds_keras.models.supernet import Supernet
from ds_keras.report import write_report
from ds_keras.zoo.classes import with_classes

PLAN, REPORT = "plan.json", "report.html"  # in the run's directory
AUGMENT = "rrc:0.3,flip"
EXTRAS = {"ai_edge_litert": ("bundle", "runtime"), "matplotlib": ("report", "report")}  # package: what for, extra
RATE, DECAY, CLIP = 3e-4, 0.02, 5.0  # of AdamW; 1e-3 destroyed a pretrained network
EPOCHS = 10**6  # at the most: the clock ends the stage
LABEL_WEIGHT = 0.3  # of the labels in what the largest level teaches the others
TOLERANCE = 0.02  # of accuracy, for the default policy: a hundred held-out photos cannot show less


def fine_tune(
    model: Supernet | str | os.PathLike,
    source: Source | Mapping[str, Source] | str,
    minutes: float = 15.0,
    workdir: str | os.PathLike = "runs/photos",
    name: str | None = None,
    augment: str = AUGMENT,
    terms: str = "",
    licence: str = "",
    command: str = "",
    seed: int = 0,
) -> Supernet:
    """Tunes a pretrained supernet to photos within some minutes, and writes it as a preset with a report and a bundle.

    The plan is printed before anything is trained. First the network stays as it is: BatchNorm statistics of every
    level, and a classifier that all levels share. Then the network itself learns: the largest level from the labels,
    the others mainly from its moving average. The shared start stays. The time is kept by the clock: a slower machine
    makes fewer steps. Nothing promises an accuracy. The same call goes on with a run that was killed.

    Args:
        model: pretrained supernet, or the name or directory of a preset; it stays as it is.
        source: labelled photos, {"train": ..., "test": ...}, or what ``data.load`` takes ("folder:photos"). Some are
            held out to choose the default policy and its thresholds. From a thousand photos on, others are the test set
            where none is given; with fewer the held-out ones give the figures, a little too high, and the card says so.
        minutes: for everything, reading of photos that are decoded on the fly included.
        workdir: gets checkpoints (every minute), ``plan.json``, ``preset/`` (with card and ``model.dsbundle``) and
            ``report.html``.
        name: of the preset; default the name of ``workdir``. Characters that a model's name cannot have become "_".
        augment: of the training views, see ``data.augmentation``. Leave "flip" out where left and right matter.
        terms: one line for the card: what the photos are and their terms.
        licence: of the weights, for the card.
        command: that repeats the run, for the card.
        seed: of everything random.

    Returns:
        The tuned network, as ``zoo.load(workdir / "preset")`` gives it.

    Raises:
        ValueError: bad arguments, too few photos or classes, a network that cannot be tuned, or a workdir of another
            run.
        FloatingPointError: a loss was not finite.

    Source: ours; the moving average as a teacher is DS-Net's (arXiv 2103.13258), larger crops in training than in use
    are arXiv 1906.06423.

    Example:
        >>> model = fine_tune("ds_mobilenet_mini_imagenet", "folder:photos", minutes=15)
        >>> model.labels
        ['cat', 'dog']
    """
    began, workdir = time.monotonic(), Path(workdir)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < math.inf:
        raise ValueError(f"minutes must be a positive number, received {minutes!r}")
    data.augmentation(augment)  # refused now where it is no recipe
    start = model.name if isinstance(model, keras.Model) else str(model)
    model = zoo.load(model) if isinstance(model, str | os.PathLike) else model
    try:
        require_levels(model)
    except ValueError as error:
        raise ValueError(f"model {start!r} cannot be tuned: {error}") from None
    name = re.sub(r"[^\w.-]+", "_", name or workdir.resolve().name)  # TensorFlow takes no other names
    photos = divide(data.load(source) if isinstance(source, str) else source, seed)
    _check_channels(model, photos, start)
    request = {"start": start, "minutes": minutes, "augment": augment, "seed": seed}
    request["photos"] = {part: len(found) for part, found in photos.parts().items()}
    known = _known(workdir, request)
    network = with_classes(model, len(photos.train.class_names), name)
    network.preprocessing = type(network.preprocessing)()  # the whole of each photo: so the figures are measured
    photos = photos._replace(train=in_memory(photos.train, network.image_shape[:2]))
    chosen = known or _planned(network, photos, minutes, start, began)
    experiment = _experiment(network, photos, chosen, augment, seed)
    terms = terms or f"{photos.train.name.partition('[')[0]}; starts from {start}"
    experiment = replace(experiment, data_terms=terms, licence=licence)
    with settings(experiment):
        run = Run(experiment, workdir, verbose=0, sources=photos.parts())
        if known is None:
            train_head(network, run.calibration_batches(), start=not chosen.frozen)
            if chosen.network:  # the head may have taken more or less time than planned
                left = 60 * minutes - chosen.ending - (time.monotonic() - began)
                chosen = chosen._replace(network=max(left, 0.5 * chosen.network))
            write_json(workdir / PLAN, {"request": request, "recipe": chosen._asdict()})
        if chosen.network:
            run.experiment = replace(experiment, stage1=replace(experiment.stage1, seconds=chosen.network))
            metrics = train(network, run, command)
        else:
            metrics = write_preset(run, workdir / "preset", {"head": chosen.head}, command)
        _write_files(run, metrics, command)
    logging.info("%s: %.1f minutes", network.name, (time.monotonic() - began) / 60)
    return zoo.load(workdir / "preset")


def _check_channels(model: Supernet, photos: Photos, start: str) -> None:
    channels = photos.train.image_shape[2], model.image_shape[2]
    if channels[0] != channels[1]:
        raise ValueError(
            f"model must read photos of {channels[0]} channels, received {start!r}, which reads {channels[1]}"
        )


def _known(workdir: Path, request: dict[str, Any]) -> plan.Recipe | None:
    """The recipe of a run that was killed, or None where no network of it was kept: the head is trained anew then."""
    path = workdir / PLAN
    if not path.is_file():
        return None
    record = read_json(path)
    if record["request"] != request:
        raise ValueError(
            f"workdir {str(workdir)!r} holds another run, with {record['request']}; give an empty directory, or the "
            "same arguments to go on with it"
        )
    if not any(workdir.glob("stage1/step-*.npz")):
        return None
    return plan.Recipe._make(tuple(value) if isinstance(value, list) else value for value in record["recipe"].values())


def _planned(network: Supernet, photos: Photos, minutes: float, start: str, began: float) -> plan.Recipe:
    """Measures the machine, chooses and prints."""
    speed = plan.measure(network, plan.view_size(network))
    chosen = plan.recipe(network, photos, speed, minutes, time.monotonic() - began)
    print(plan.in_words(network, photos, speed, chosen, minutes, start), flush=True)
    for package, (what, extra) in EXTRAS.items():
        if importlib.util.find_spec(package) is None:
            print(f"  no {what}: pip install 'ds_keras[{extra}]' for one", flush=True)
    return chosen


def _experiment(network: Supernet, photos: Photos, chosen: plan.Recipe, augment: str, seed: int) -> Experiment:
    """The run as an experiment."""
    trainer = {
        "num_random": None,
        "objective": "ib",
        "hard_label_weight": LABEL_WEIGHT,
        "weight_decay": 0.0,
        "frozen_start": chosen.frozen,
        "shares": chosen.shares,
    }
    stage = TrainingStage(
        epochs=EPOCHS,
        learning_rate=RATE,
        optimizer="adamw",
        batch_size=chosen.batch,
        augment=augment,
        clip_norm=CLIP,
        weight_decay=DECAY,
        image_size=chosen.view,
        trainer=trainer,
    )
    return Experiment(
        name=network.name,
        data=photos.train.name,
        model=lambda classes, shape: network,
        stage1=stage,
        stage2=None,
        image_size=network.image_shape[:2],
        held_out="held_out",
        calibration=chosen.calibration,
        calibration_augment="flip" if "flip" in augment.split(",") else "",
        tolerance=TOLERANCE,
        seed=seed,
    )


def _write_files(run: Run, metrics: dict[str, Any], command: str) -> None:
    """Report and bundle, where their extras are installed."""
    directory, model = run.workdir / "preset", run.deployed()
    if importlib.util.find_spec("matplotlib"):
        log = run.workdir / "metrics.jsonl"
        write_report(
            run.workdir / REPORT,
            model,
            run.sources["test"],
            zoo.card(directory),
            log=log if log.is_file() else None,
            command=command,
        )
    if importlib.util.find_spec("ai_edge_litert"):
        export.to_bundle(model, directory / zoo.BUNDLE, "float16", licence=metrics["licence"])
