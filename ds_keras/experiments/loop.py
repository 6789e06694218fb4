"""The loop of one stage: epochs, checkpoints, logs. It goes on where a killed run stopped."""

import importlib.util
import json
import shutil
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from ds_keras.experiments.checkpoint import restore_checkpoint, save_checkpoint
from ds_keras.training.base import NOT_FINITE, Trainer


class Loop:
    """One stage: an epoch is a ``fit`` call on the part of the endless stream that is left of it.

    Args:
        name: "stage1" or "stage2".
        trainer: compiled.
        workdir: of the run.
        per_epoch: steps in an epoch.
        every: steps between checkpoints.
    """

    def __init__(self, name: str, trainer: Trainer, workdir: Path, per_epoch: int, every: int):
        self.name, self.trainer, self.workdir, self.directory = name, trainer, workdir, workdir / name
        self.per_epoch, self.every = per_epoch, every

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
        if self.name == "stage1" and step < end:  # an older Stage II began from weights that move on now
            shutil.rmtree(self.workdir / "stage2", ignore_errors=True)
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
            self.save(step, began)
            self._log(writer, step, {k: float(v[-1]) for k, v in history.history.items()}, began, first, end)
        return time.monotonic() - began if first < end else spent

    def save(self, step: int, began: float) -> None:
        """Writes a checkpoint."""
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
        held_out = [
            f"{name} {100 * v:.2f} %"
            for k, v in values.items()
            if (name := k.removeprefix("val_")).endswith("accuracy")
        ]
        logging.info(
            "%s: step %d of %d, %.0f s, about %.0f s left; held-out %s",
            *(self.name, step, end, seconds, left, ", ".join(held_out)),
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

    def __init__(self, loop: Loop, step: int, began: float):
        super().__init__()
        self.loop, self.step, self.began = loop, step, began

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the step, and saves every so many."""
        self.step += 1
        if self.step % self.loop.every == 0:
            self.loop.save(self.step, self.began)


def _summaries(directory: Path) -> Any:
    """A TensorBoard writer, or None where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        logging.info("no TensorBoard scalars: pip install 'ds_keras[train]' for them")
        return None
    return tf.summary.create_file_writer(str(directory))
