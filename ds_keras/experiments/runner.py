"""Runs an experiment: both stages, calibration, thresholds, evaluation, preset. The same command resumes it.

Data order, augmentation, drawn levels and noise are pure functions of (seed, step), and a checkpoint holds every
variable that the rest of a stage depends on: a run that was killed ends with the same weights as one that was not.
"""

import functools
import os
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from ds_keras import export, zoo
from ds_keras.core.files import expanded
from ds_keras.core.levels import require_levels
from ds_keras.experiments.config import Experiment
from ds_keras.experiments.preset import compare_policies, write_preset
from ds_keras.experiments.run import Run, settings
from ds_keras.models.supernet import Supernet
from ds_keras.routing import budget
from ds_keras.training.distributed.workers import by_chief, job
from ds_keras.zoo.cards import render


def run(
    experiment: Experiment,
    workdir: str | os.PathLike,
    command: str = "",
    checkpoint_every: int = 500,
    max_steps: int | None = None,
    verbose: Any = "auto",
    strategy: tf.distribute.Strategy | None = None,
) -> dict[str, Any]:
    """Trains, or goes on training, and writes the preset to ``<workdir>/preset``.

    Args:
        experiment: what to run.
        workdir: holds checkpoints, logs and the result; a directory of its own for each experiment and seed.
        command: for the card: the command that repeats this run.
        checkpoint_every: steps between checkpoints.
        max_steps: stop each stage after so many steps (a trial run).
        verbose: of ``keras.Model.fit``.
        strategy: ``training.distributed.make_strategy``; default one device. Several workers all call this function,
            with the same arguments and a ``workdir`` that they share, in which the chief alone writes.

    Returns:
        The preset's metrics.

    Raises:
        ValueError: bad experiment or data, or a workdir of another experiment.
        FloatingPointError: a loss was not finite; names the step, the level and the last good checkpoint.
    """
    strategy = tf.distribute.get_strategy() if strategy is None else strategy
    with settings(experiment), job(strategy):
        with strategy.scope():
            current = Run(experiment, workdir, checkpoint_every, max_steps, verbose)
        return train(current.model, current, command)


@functools.singledispatch
def train(model: Any, run: Run, command: str) -> dict[str, Any]:
    """Trains the network of a run and writes the preset: here a supernet. Other types of network register their own.

    Args:
        model: ``run.model``, whose type decides.
        run: the run.
        command: for the card.

    Returns:
        The preset's metrics.
    """
    require_levels(model)
    preset = run.workdir / "preset"
    with run.strategy.scope():
        run.check_stages()
        seconds = {"stage1": run.train_supernet()}
        if (gate := run.gate_trainer()) is not None:
            seconds["stage2"] = run.train_gate(gate)
    return by_chief(run.strategy, lambda: write_preset(run, preset, seconds, command), lambda: zoo.metrics(preset))


def remeasure(experiment: Experiment, directory: str | os.PathLike, choose: bool = True) -> dict[str, Any]:
    """Chooses a trained preset's cascade, thresholds and default policy anew, and evaluates it again.

    Args:
        experiment: that trained it: its data, held-out images and tolerance are used.
        directory: of the preset. Its metrics, its card and, where it has one, its half-precision bundle are replaced;
            notes, comparisons, seconds and command stay. An int8 bundle, whose thresholds are the old ones, goes
            (``training.quantized.quantize_preset`` makes it anew).
        choose: False chooses nothing: the comparison of the policies, its plot and the card are made anew, an older
            budget table (and the bundle) gets the passes of each level, and weights and all other figures stay. That
            is no further reading of the test set: nothing depends on what it shows.

    Returns:
        The preset's metrics.

    Raises:
        ValueError: no preset there, or one of another network.
    """
    directory = expanded(directory)
    trained = zoo.load(directory)
    with settings(experiment), tempfile.TemporaryDirectory() as workdir:
        current = Run(experiment, workdir)
        if current.model.get_config().keys() != trained.get_config().keys() or [w.shape for w in trained.weights] != [
            w.shape for w in current.model.weights
        ]:
            raise ValueError(f"directory must hold a preset of {experiment.name!r}, received {str(directory)!r}")
        old = zoo.metrics(directory, ("test_reads", "seconds", "command", "licence"))
        if not choose:
            known = trained.budget_table
            held_out, tested = current.predictions(trained, "held_out"), current.predictions(trained, "test")
            metrics = {**old, **compare_policies(trained, directory, experiment.name, held_out=held_out, tested=tested)}
            if budget.measure_passes(trained, current.x_held) != known:
                _bundle(trained, directory, metrics)
            zoo.save(trained, directory, metrics, render(trained, metrics))
            return metrics
        kept = {
            key: old[key] for key in ("seconds", "command", "machine", "notes", "comparisons", "complete") if key in old
        }
        current.model.set_weights(trained.get_weights())
        reads = old["test_reads"] + 1
        metrics = write_preset(current, directory, kept.pop("seconds"), kept.pop("command"), reads, kept)
    (directory / zoo.INT8_BUNDLE).unlink(missing_ok=True)
    _bundle(zoo.load(directory), directory, metrics)
    return metrics


def _bundle(model: Supernet, directory: Path, metrics: dict[str, Any]) -> None:
    """Replaces the half-precision bundle of a preset that has one."""
    if (directory / zoo.BUNDLE).is_file():
        export.to_bundle(model, directory / zoo.BUNDLE, "float16", licence=metrics["licence"])
