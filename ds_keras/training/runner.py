"""Runs an experiment: both stages, calibration, thresholds, evaluation, preset. The same command resumes it.

Data order, augmentation, drawn levels and noise are pure functions of (seed, step), and a checkpoint holds every
variable that the rest of a stage depends on: a run that was killed ends with the same weights as one that was not.
"""

import importlib.util
import json
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from ds_keras import budget, data, zoo
from ds_keras.evaluation import evaluate
from ds_keras.files import write_json
from ds_keras.training.base import NOT_FINITE, Trainer
from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.checkpoint import restore_checkpoint, save_checkpoint
from ds_keras.training.experiment import Experiment, Stage
from ds_keras.training.stage1 import SupernetTrainer
from ds_keras.training.stage2 import GateTrainer
from ds_keras.zoo.cards import render

TRIAL_IMAGES = 256


def run(
    experiment: Experiment,
    workdir: str | os.PathLike,
    command: str = "",
    checkpoint_every: int = 500,
    max_steps: int | None = None,
    verbose: Any = "auto",
) -> dict[str, Any]:
    """Trains, or goes on training, and writes the preset to ``<workdir>/preset``.

    Args:
        experiment: what to run.
        workdir: holds checkpoints, logs and the result; a directory of its own for each experiment and seed.
        command: for the card: the command that repeats this run.
        checkpoint_every: steps between checkpoints.
        max_steps: stop each stage after so many steps (a trial run).
        verbose: of ``keras.Model.fit``.

    Returns:
        The preset's metrics.

    Raises:
        ValueError: bad experiment or data, or a workdir of another experiment.
        FloatingPointError: a loss was not finite; names the step, the level and the last good checkpoint.
    """
    workdir = Path(workdir)
    _claim(workdir, experiment)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(experiment.precision)
    keras.utils.set_random_seed(experiment.seed)
    tf.config.experimental.enable_op_determinism()
    try:
        return _run(experiment, workdir, command, checkpoint_every, max_steps, verbose)
    finally:
        keras.config.set_dtype_policy(before)


def _run(
    experiment: Experiment, workdir: Path, command: str, checkpoint_every: int, max_steps: int | None, verbose: Any
) -> dict[str, Any]:
    sources = data.load(experiment.data)
    train, held_out = sources["train"].split(experiment.held_out, seed=experiment.seed)
    size = experiment.image_size
    test = sources["test"]
    if max_steps is not None:  # a trial run evaluates on a few images
        held_out, test = (s.subset(np.arange(min(len(s), TRIAL_IMAGES))) for s in (held_out, test))
    x_held, x_test = held_out.images(size), test.images(size)
    model = experiment.model(len(train.class_names), x_held.shape[1:])
    model.labels = list(train.class_names)
    model.build()

    def batches(stage: Stage, first: int, last: int) -> tf.data.Dataset:
        options = {"augment": stage.augment, "image_size": size, "start_step": first, "end_step": last}
        return data.batches(train, stage.batch_size, experiment.seed, **options)

    def fit(name: str, stage: Stage, trainer: Trainer) -> float:
        steps = stage.epochs * (len(train) // stage.batch_size)
        loop = _Loop(name, trainer, workdir, steps, len(train) // stage.batch_size, checkpoint_every)
        trainer.compile(stage.make_optimizer(steps))
        validation = data.evaluation_batches(held_out, 500, size)
        return loop.fit(lambda a, b: batches(stage, a, b), validation, min(steps, max_steps or steps), verbose)

    stage1 = SupernetTrainer(model, seed=experiment.seed, **experiment.stage1.trainer)
    stage2 = None
    if experiment.stage2 is not None:  # made now, so that bad arguments are refused before hours of Stage I
        stage2 = GateTrainer(model, seed=experiment.seed, **experiment.stage2.trainer)
    seconds = {"stage1": fit("stage1", experiment.stage1, stage1)}
    count, size_ = experiment.calibration
    plain = Stage(1, 0.0, batch_size=min(size_, len(train)), augment=experiment.stage1.augment)
    calibrate_batch_norm(model, batches(plain, 0, min(count, max(len(train) // plain.batch_size, 1))))
    if stage2 is not None:
        seconds["stage2"] = fit("stage2", experiment.stage2, stage2)
    budget.measure_budget(model, x_held, held_out.labels)
    policy, _ = budget.choose_policy(model, experiment.tolerance)
    metrics = {
        "experiment": experiment.name,
        "command": command,
        "data": experiment.data_terms,
        "licence": experiment.licence,
        "trained_on": f"{len(train)} images of the training set",
        "chosen_on": f"{len(held_out)} held-out images of the training set (thresholds, budget table, default policy)",
        "tested_on": f"{len(test)} test images, read once",
        "default_policy": policy,
        "complete": max_steps is None,
        "seconds": {name: round(value) for name, value in seconds.items()},
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__},
        **evaluate(model, x_test, test.labels),
    }
    zoo.save(model, workdir / "preset", metrics, render(model, metrics))
    return metrics


class _Loop:
    """One stage: an epoch is a ``fit`` call on the part of the endless stream that is left of it."""

    def __init__(self, name: str, trainer: Trainer, workdir: Path, steps: int, per_epoch: int, every: int):
        if per_epoch < 1:
            raise ValueError(f"{name}: batch_size must be at most the number of training images")
        self.name, self.trainer, self.workdir, self.directory = name, trainer, workdir, workdir / name
        self.steps, self.per_epoch, self.every = steps, per_epoch, every

    @property
    def variables(self) -> list[keras.Variable]:
        """All that the rest of the stage depends on."""
        metrics = {id(v) for metric in self.trainer.metrics for v in metric.variables}
        own = [v for v in self.trainer.variables if id(v) not in metrics]
        optimizer = {id(v) for v in self.trainer.optimizer.variables}
        return [v for v in own if id(v) not in optimizer] + list(self.trainer.optimizer.variables)

    def fit(self, batches: Any, validation: tf.data.Dataset, end: int, verbose: Any) -> float:
        """Trains to step ``end``; returns the seconds spent, those before an interruption included."""
        meta = restore_checkpoint(self.directory, self.variables) or {"step": 0, "seconds": 0.0}
        step, spent = meta["step"], meta["seconds"]
        if step:
            logging.info("%s: going on from step %d of %d", self.name, step, end)
        began, first = time.monotonic() - spent, step
        writer = _summaries(self.workdir / "tensorboard" / self.name)
        while step < end:
            epoch = step // self.per_epoch
            stop = min((epoch + 1) * self.per_epoch, end)
            saver = _Saver(self, step, began)
            try:
                history = self.trainer.fit(
                    batches(step, stop),
                    validation_data=validation,
                    initial_epoch=epoch,
                    epochs=epoch + 1,
                    callbacks=[saver],
                    verbose=verbose,
                    shuffle=False,  # the stream is shuffled already
                )
            except tf.errors.InvalidArgumentError as error:
                self._explain(error)
            step = stop
            self._save(step, began)
            self._log(writer, step, {k: float(v[-1]) for k, v in history.history.items()}, began, first, end)
        return time.monotonic() - began if first < end else spent

    def _save(self, step: int, began: float) -> None:
        save_checkpoint(self.directory, step, self.variables, {"seconds": time.monotonic() - began})

    def _log(self, writer: Any, step: int, values: dict[str, float], began: float, first: int, end: int) -> None:
        seconds = time.monotonic() - began
        with open(self.workdir / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"stage": self.name, "step": step, "seconds": round(seconds, 1), **values}) + "\n")
        if writer is not None:
            with writer.as_default():
                for name, value in values.items():
                    tf.summary.scalar(name, value, step=step)
        left = seconds / max(step, 1) * (end - step)
        levels = [f"{100 * v:.2f}" for k, v in values.items() if k.startswith("val_level")]
        routed = 100 * values["val_routed_accuracy"]
        logging.info(
            "%s: step %d of %d, %.0f s, about %.0f s left; held-out top-1 of every level %s, routed %.2f",
            *(self.name, step, end, seconds, left, " ".join(levels), routed),
        )

    def _explain(self, error: tf.errors.InvalidArgumentError) -> None:
        if NOT_FINITE not in str(error):
            raise error
        line = next(line for line in str(error).splitlines() if NOT_FINITE in line)
        good = max(self.directory.glob("step-*.npz"), default=None)
        raise FloatingPointError(
            f"{self.name}: {line.strip()}; the last good checkpoint is {good or 'none yet'}. "
            "Lower the learning rate or set clip_norm, and start in a new workdir"
        ) from None


class _Saver(keras.callbacks.Callback):
    """Saves within an epoch."""

    def __init__(self, loop: _Loop, step: int, began: float):
        super().__init__()
        self.loop, self.step, self.began = loop, step, began

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the step, and saves every so many."""
        self.step += 1
        if self.step % self.loop.every == 0:
            self.loop._save(self.step, self.began)


def _summaries(directory: Path) -> Any:
    """A TensorBoard writer, or None where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        logging.info("no TensorBoard scalars: pip install 'ds_keras[train]' for them")
        return None
    return tf.summary.create_file_writer(str(directory))


def _claim(workdir: Path, experiment: Experiment) -> None:
    """Marks the workdir as this experiment's, or refuses one that belongs to another."""
    record = {"name": experiment.name, "data": experiment.data, "seed": experiment.seed}
    record |= {"stage1": repr(experiment.stage1), "stage2": repr(experiment.stage2)}
    path = workdir / "experiment.json"
    if path.exists() and json.loads(path.read_text()) != record:
        raise ValueError(f"workdir {str(workdir)!r} holds another experiment ({path}); give an empty directory")
    write_json(path, record)
