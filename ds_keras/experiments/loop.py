"""The loop of one stage: epochs, checkpoints, logs. It goes on where a killed run stopped."""

import importlib.util
import json
import math
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from ds_keras.data.decode import told
from ds_keras.experiments.checkpoint import restore_checkpoint, save_checkpoint
from ds_keras.training import distributed
from ds_keras.training.base import NOT_FINITE, Trainer
from ds_keras.training.distributed.workers import gather

SECONDS = 60.0  # between checkpoints, at most: a step may take long
WARMUP = 20  # steps, of a stage that the clock ends
SAID = "accuracy", "overlap"  # ends of the names of the metrics that a line of progress has
SAID_AFTER = 20.0  # seconds after which a run says how long it will take


class Loop:
    """One stage: an epoch is a ``fit`` call on the part of the endless stream that is left of it.

    Args:
        name: "stage1" or "stage2".
        trainer: compiled.
        workdir: of the run.
        per_epoch: steps in an epoch.
        every: steps between checkpoints; one is written every minute too.
        clock: ends the stage, where that is not its last step.
    """

    def __init__(
        self, name: str, trainer: Trainer, workdir: Path, per_epoch: int, every: int, clock: "Clock | None" = None
    ):
        self.name, self.trainer, self.workdir, self.directory = name, trainer, workdir, workdir / name
        self.per_epoch, self.every, self.clock = per_epoch, every, clock
        self.strategy = trainer.distribute_strategy
        self.writes = distributed.is_chief(self.strategy)

    @property
    def variables(self) -> list[keras.Variable]:
        """All that the rest of the stage depends on."""
        metrics = {id(v) for metric in self.trainer.metrics for v in metric.variables}
        own = [v for v in self.trainer.variables if id(v) not in metrics]
        optimizer = {id(v) for v in self.trainer.optimizer.variables}
        return [v for v in own if id(v) not in optimizer] + list(self.trainer.optimizer.variables)

    def fit(self, batches: Any, validation: Any, end: int, verbose: Any) -> float:
        """Trains to step ``end``, or as long as the clock allows; returns the seconds, those before a kill included.

        Args:
            batches: f(first, last, context) -> dataset; ``context`` as in ``data.batches``.
            validation: f(context) -> dataset, or None.
            end: last step.
            verbose: of ``keras.Model.fit``.
        """
        meta = restore_checkpoint(self.directory, self.variables) or {"step": 0, "seconds": 0.0}
        step, spent = meta["step"], meta["seconds"]
        if len(set(steps := gather(self.strategy, step))) > 1:
            raise ValueError(
                f"{self.directory} must be the same directory for all workers; they found checkpoints of steps {steps}"
            )
        if self.name == "stage1" and step < end and self.writes:  # an older Stage II began from weights that move on
            shutil.rmtree(self.workdir / "stage2", ignore_errors=True)
        if step:
            last = f" of {end}" if self.clock is None else f", {spent:.0f} of {self.clock.seconds:.0f} s are spent"
            logging.info("%s: going on from step %d%s", self.name, step, last)
        began, first, clock = time.monotonic() - spent, step, self.clock
        if clock is not None:
            clock.start(step, began)
        writer = _summaries(self.workdir / "tensorboard" / self.name) if self.writes else None
        while step < end and not (clock and clock.over):
            epoch = step // self.per_epoch
            stop = min((epoch + 1) * self.per_epoch, end)
            saver = _Saver(self, step, began, end)
            try:
                callbacks = [saver, *([clock] if clock else [])]
                history = self._epoch(epoch, partial(batches, step, stop), stop - step, validation, callbacks, verbose)
            except tf.errors.OpError as error:
                self._explain(error)
            step = saver.step  # less than ``stop`` where the clock ended it
            self.save(step, began)
            self._log(writer, step, {k: float(v[-1]) for k, v in history.history.items()}, began, first, end)
        return time.monotonic() - began if first < step else spent

    def _epoch(
        self, epoch: int, batches: Any, steps: int, validation: Any, callbacks: list, verbose: Any
    ) -> keras.callbacks.History:
        """What is left of an epoch: Keras' loop on one device, ours where a strategy shares the work."""
        verbose = verbose if self.writes else 0
        span = {"initial_epoch": epoch, "epochs": epoch + 1, "callbacks": callbacks, "verbose": verbose}
        if distributed.shares_work(self.strategy):
            return distributed.fit(self.trainer, batches, steps, validation, **span)
        held_out = None if validation is None else validation(None)
        # The stream is shuffled already.
        return self.trainer.fit(batches(None), validation_data=held_out, shuffle=False, **span)

    def save(self, step: int, began: float) -> None:
        """Writes a checkpoint; among several workers only the chief does."""
        if not self.writes:
            return
        save_checkpoint(self.directory, step, self.variables, {"seconds": time.monotonic() - began})

    def _log(self, writer: Any, step: int, values: dict[str, float], began: float, first: int, end: int) -> None:
        if not self.writes:
            return
        seconds = time.monotonic() - began
        with open(self.workdir / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"stage": self.name, "step": step, "seconds": round(seconds, 1), **values}) + "\n")
        if writer is not None:
            with writer.as_default():
                for name, value in values.items():
                    tf.summary.scalar(name, value, step=step)
        known = {k.removeprefix("val_"): v for k, v in values.items() if k.startswith("val_") or self.clock}
        figures = ", ".join(f"{k} {100 * v:.2f} %" for k, v in known.items() if k.endswith(SAID))
        if self.clock is not None:
            left = max(self.clock.seconds - seconds, 0.0)
            logging.info("%s: step %d, %.0f s left; training views %s", self.name, step, left, figures)
            return
        left = seconds / max(step, 1) * (end - step)
        logging.info(
            "%s: step %d of %d, %.0f s, about %.0f s left; held-out %s",
            *(self.name, step, end, seconds, left, figures),
        )

    def _explain(self, error: tf.errors.OpError) -> None:
        if NOT_FINITE not in str(error):
            if (reason := told(error)) is None:
                raise error
            raise ValueError(f"{self.name}: {reason}") from error
        line = next(line for line in str(error).splitlines() if NOT_FINITE in line)
        good = max(self.directory.glob("step-*.npz"), default=None)
        raise FloatingPointError(
            f"{self.name}: {line.strip()}; the last good checkpoint is {good or 'none yet'}. "
            "Lower the learning rate or set clip_norm, and start in a new workdir"
        ) from None


class Clock(keras.callbacks.Callback):
    """Ends a stage after some seconds; the learning rate falls with the share of them that is spent (half a cosine).

    Args:
        seconds: of the stage, those before a kill included.
        learning_rate: peak, after ``WARMUP`` steps.
    """

    def __init__(self, seconds: float, learning_rate: float):
        super().__init__()
        self.seconds, self.learning_rate = seconds, learning_rate
        self.step, self.began = 0, time.monotonic()

    def start(self, step: int, began: float) -> None:
        """Sets the step that comes next, and when (``time.monotonic``) the stage would have begun without a kill."""
        self.step, self.began = step, began

    @property
    def spent(self) -> float:
        """Share of the seconds that is over, in [0, 1]."""
        return min((time.monotonic() - self.began) / self.seconds, 1.0)

    @property
    def over(self) -> bool:
        """Whether the stage ends."""
        return self.spent >= 1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the learning rate."""
        rate = self.learning_rate * min((self.step + 1) / WARMUP, 1.0) * (1 + math.cos(math.pi * self.spent)) / 2
        self.model.optimizer.learning_rate = rate

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the step, and stops ``fit``."""
        self.step += 1
        if self.over:
            self.model.stop_training = True


class _Saver(keras.callbacks.Callback):
    """Saves within an epoch, and says early how long the stage will take."""

    def __init__(self, loop: Loop, step: int, began: float, end: int):
        super().__init__()
        self.loop, self.step, self.began, self.end = loop, step, began, end
        self.first, self.saved, self.second_step = step == 0, time.monotonic(), 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the step, and saves every so many, and every minute."""
        self.step += 1
        now = time.monotonic()
        if self.step % self.loop.every == 0 or now - self.saved > SECONDS:
            self.loop.save(self.step, self.began)
            self.saved = now
        if self.first and self.loop.clock is None:
            self._estimate(now)

    def _estimate(self, now: float) -> None:
        """Logs the time of the whole stage once; the first step, which traces the graph, does not count."""
        if self.step == 1:
            self.second_step = now
        elif now - self.second_step > SAID_AFTER:
            minutes = (now - self.second_step) / (self.step - 1) * self.end / 60
            logging.info(
                "%s: %d steps will take about %.0f minutes, without validation", self.loop.name, self.end, minutes
            )
            self.first = False


def _summaries(directory: Path) -> Any:
    """A TensorBoard writer, or None where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        logging.info("no TensorBoard scalars: pip install 'ds_keras[train]' for them")
        return None
    return tf.summary.create_file_writer(str(directory))
