"""The preset that comes out of a run: what is chosen on held-out images, the figures of the test set, the card."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from ds_keras import data, zoo
from ds_keras.core.files import write_bytes
from ds_keras.core.timing import machine
from ds_keras.evaluation.tables import compare, figures_of, level_rows
from ds_keras.routing import budget
from ds_keras.routing.replay import Predictions, fit_temperatures
from ds_keras.zoo.cards import render

if TYPE_CHECKING:
    from ds_keras.experiments.run import Run
    from ds_keras.models.supernet import Supernet


def write_preset(
    run: "Run", directory: Path, seconds: dict[str, float], command: str, reads: int = 1, kept: Any = None
) -> dict[str, Any]:
    """Chooses cascade, thresholds and policy on the held-out images, reads the test set, writes the preset.

    Args:
        run: with a trained network.
        directory: of the preset.
        seconds: that each stage took.
        command: for the card.
        reads: times that the test set has been read, this one included.
        kept: further metrics.

    Returns:
        The metrics.
    """
    experiment, model = run.experiment, run.deployed()
    test = run.trial(run.sources["test"])
    held_out = run.predictions(model, "held_out")
    budget.fit_budget(model, held_out)
    policy, _ = budget.choose_policy(model, held_out, experiment.tolerance)
    tested = run.predictions(model, "test")
    metrics = {
        **facts(run, command, seconds, test, "thresholds, budget table, default policy", reads),
        "default_policy": policy,
        **(kept or {}),
        "held_out": level_rows(model, held_out.logits_by_level, held_out.labels),
        **figures_of(model, tested),
    }
    for part in sorted(set(run.sources) - {"train", "test"}):
        also = run.predictions(model, part)
        metrics.setdefault("also", {})[part] = {"images": len(also), **figures_of(model, also)}
    metrics |= compare_policies(model, directory, experiment.name, held_out=held_out, tested=tested)
    zoo.save(model, directory, metrics, render(model, metrics))
    return metrics


def facts(
    run: "Run", command: str, seconds: dict[str, float], test: data.Source, chosen: str, reads: int = 1
) -> dict[str, Any]:
    """What a preset's metrics say of the run, besides its figures.

    Args:
        run: the run.
        command: that repeats it.
        seconds: that each stage took.
        test: the test images.
        chosen: what was chosen on the held-out images.
        reads: times that they have been read, this one included.

    Returns:
        The entries.
    """
    experiment = run.experiment
    again: str = "read once" if reads == 1 else f"read {reads} times: the policy was chosen anew on the held-out images"
    tested_on = f"{len(test)} test images, {again}"
    if not run.tested_apart:
        tested_on = f"the same {len(test)} held-out images: there was no test set, so these figures are a little high"
    held_out = f"{len(run.held_out)} held-out images of the training set"
    if isinstance(experiment.held_out, str):
        held_out = f"{len(run.held_out)} held-out images, the part {experiment.held_out!r} of the data"
    return {
        "experiment": experiment.name,
        "command": command,
        "data": experiment.data_terms,
        "licence": experiment.licence or "not stated",
        "trained_on": f"{len(run.train)} images of the training set",
        "chosen_on": f"{held_out} ({chosen})",
        "tested_on": tested_on,
        "test_reads": reads,
        "precision": f"{experiment.precision} in training; every figure is of the float32 model",
        "complete": run.max_steps is None,
        "seconds": {name: round(value) for name, value in seconds.items()},
        "machine": machine(),
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
    }


def compare_policies(
    model: "Supernet", directory: Path, name: str, *, held_out: Predictions, tested: Predictions
) -> dict[str, Any]:
    """Compares the policies on test images, and draws them into a preset's folder.

    Args:
        model: in float32, with a budget table.
        directory: of the preset.
        name: title of the picture.
        held_out: of the images that temperatures are fitted on.
        tested: of the images that are compared on.

    Returns:
        See ``evaluation.compare``; "plot" names the picture, and is None where matplotlib is missing.
    """
    temperatures = fit_temperatures(held_out)
    figures = {**compare(model, tested, temperatures), "plot": None}
    if importlib.util.find_spec("matplotlib") is None:
        logging.info("no plot of the policies: pip install 'ds_keras[report]' for it")
        return figures
    from ds_keras.report import policies_png

    write_bytes(directory / zoo.PLOT, policies_png(model, tested, temperatures, name))
    return {**figures, "plot": zoo.PLOT}
