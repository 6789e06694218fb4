"""What a run works with: the data, the model, the steps of both stages."""

import contextlib
import math
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras import data
from ds_keras.core.backend import dtype_policy
from ds_keras.core.files import expanded
from ds_keras.core.image_model import ImageModel
from ds_keras.evaluation.tables import evaluate_levels
from ds_keras.experiments.config import Experiment, TrainingStage
from ds_keras.experiments.loop import Clock, Loop
from ds_keras.experiments.pretrained import prepare
from ds_keras.experiments.workdir import claim
from ds_keras.routing.replay import Predictions, score
from ds_keras.training import distributed
from ds_keras.training.base import Trainer
from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.distributed.workers import part_of, sum_over_workers
from ds_keras.training.stage1 import SupernetTrainer
from ds_keras.training.stage2 import GateTrainer

TRIAL_IMAGES = 256
STEPS = 50  # in an epoch of a stage by the clock, at least: each begins a stream of its own


@contextlib.contextmanager
def settings(experiment: Experiment) -> Iterator[None]:
    """Keras' precision and seed as the experiment asks; the precision is put back afterwards."""
    keras.utils.set_random_seed(experiment.seed)
    tf.config.experimental.enable_op_determinism()
    with dtype_policy(experiment.precision):
        yield


class Run:
    """The data and the model of a run, and what is done with them.

    Args:
        experiment: see ``run``.
        workdir: likewise.
        checkpoint_every: likewise.
        max_steps: likewise.
        verbose: likewise.
        sources: the experiment's data, where it is loaded already. Without "test", the held-out images are the test
            images too, and the card says so.
    """

    def __init__(
        self,
        experiment: Experiment,
        workdir: str | os.PathLike,
        checkpoint_every: int = 500,
        max_steps: int | None = None,
        verbose: Any = "auto",
        sources: dict[str, data.Source] | None = None,
    ):
        counts = {"checkpoint_every": checkpoint_every, "max_steps": 1 if max_steps is None else max_steps}
        for name, value in counts.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, received {value!r}")
        self.experiment, self.workdir = experiment, expanded(workdir)
        self.checkpoint_every, self.max_steps, self.verbose = checkpoint_every, max_steps, verbose
        self.strategy = tf.distribute.get_strategy()
        self.sources = data.load(experiment.data) if sources is None else dict(sources)
        self.train, self.held_out = experiment.divide(self.sources)
        self.sources = {name: part for name, part in self.sources.items() if name != experiment.held_out}
        self.tested_apart = "test" in self.sources
        self.sources.setdefault("test", self.held_out)
        if experiment.train_images is not None:
            self.train = _some(self.train, experiment.train_images)
        for name, stage in (("stage1", experiment.stage1), ("stage2", experiment.stage2)):
            if stage is not None and stage.batch_size > len(self.train):
                raise ValueError(
                    f"{name}: batch_size must be at most the number of training images, received {stage.batch_size} "
                    f"for {len(self.train)} images"
                )
        if max_steps is not None:  # a trial run evaluates on a few images
            self.held_out = self.trial(self.held_out)
        self.x_held = self.held_out.images(experiment.image_size)
        self.model = self._made()
        self.model.labels = self._labels()
        self.model.build()
        if distributed.is_chief(self.strategy):
            claim(self.workdir, experiment, self.model)

    def _made(self) -> ImageModel:
        """The network that the experiment describes."""
        name = self.experiment.name
        try:
            model = self.experiment.model(len(self.train.class_names), self.x_held.shape[1:])
        except ValueError:
            raise
        except Exception as error:  # it is the user's code
            raise ValueError(f"model of {name!r} fails: {type(error).__name__}: {error}") from error
        if not isinstance(model, ImageModel):
            raise ValueError(f"model of {name!r} must return a network of ds_keras, it returns {type(model).__name__}")
        return model

    def _labels(self) -> list[str]:
        """The classes' names: the experiment's, or the data's."""
        own, names = self.experiment.labels, list(self.train.class_names)
        if own is not None and len(own) != len(names):
            raise ValueError(f"labels must name {len(names)} classes ({', '.join(names)}), received {own!r}")
        return names if own is None else list(own)

    def trial(self, source: data.Source) -> data.Source:
        """The whole set, or a few images of it in a trial run."""
        return source if self.max_steps is None else _some(source, TRIAL_IMAGES)

    def batches(
        self, stage: TrainingStage, first: int, last: int, context: Any = None, views: int = 1
    ) -> tf.data.Dataset:
        """The training batches of steps [first, last), or an input pipeline's part of them."""
        return data.batches(
            self.train,
            stage.batch_size,
            self.experiment.seed,
            augment=stage.augment,
            image_size=stage.image_size or self.experiment.image_size,
            start_step=first,
            end_step=last,
            views=views,
            mixup=stage.mixup,
            context=context,
        )

    def plain_batches(self, size: int, augment: str, first: int, last: int) -> tf.data.Dataset:
        """Batches [first, last) of training images that belong to no stage: for statistics and features."""
        return data.batches(
            self.train,
            size,
            self.experiment.seed,
            augment=augment,
            image_size=self.experiment.image_size,
            start_step=first,
            end_step=last,
        )

    def fit(self, name: str, stage: TrainingStage, trainer: Trainer) -> float:
        """Runs a stage to its end; returns the seconds that it took."""
        per_epoch, clock = len(self.train) // stage.batch_size, None
        if stage.seconds is not None and distributed.shares_work(self.strategy):
            raise ValueError(f"{name}: seconds must be None under a strategy: replicas end at a step, not by a clock")
        if stage.seconds is not None:
            clock = Clock(stage.seconds, stage.learning_rate)
            per_epoch *= math.ceil(STEPS / per_epoch)
        steps = stage.epochs * per_epoch
        loop = Loop(name, trainer, self.workdir, per_epoch, self.checkpoint_every, clock)
        trainer.compile(stage.make_optimizer(steps))
        replicas = self.strategy.num_replicas_in_sync
        validation = partial(
            data.evaluation_batches,
            self.held_out,
            -(-500 // replicas) * replicas,
            self.experiment.image_size,
            1.0,  # the pixels of ``x_held``
            2,
        )
        end = min(steps, self.max_steps or steps)
        batches = partial(self.batches, stage, views=trainer.views)
        return loop.fit(batches, None if clock else validation, end, self.verbose)

    def check_stages(self) -> None:
        """Makes and compiles both trainers, so that bad arguments are refused before anything is trained."""
        for stage, trainer in (
            (self.experiment.stage1, self.supernet_trainer()),
            (self.experiment.stage2, self.gate_trainer()),
        ):
            if stage is not None and trainer is not None:
                trainer.compile(stage.make_optimizer(1))

    def train_supernet(self) -> float:
        """Stage I and the calibration; returns the seconds of Stage I."""
        stage, batches = self.experiment.stage1, self.calibration_batches()
        prepare(self)
        trainer = self.supernet_trainer()
        seconds = self.fit("stage1", stage, trainer)
        deployed, quantize = self.deployed(), stage.trainer.get("quantize")
        total = partial(sum_over_workers, self.strategy)
        levels, start = trainer.settings.calibrated(), trainer.settings.start_moves
        calibrate_batch_norm(deployed, batches, levels, quantize, start, total)
        self.model.set_weights(deployed.get_weights())
        return seconds

    def train_gate(self, trainer: GateTrainer) -> float:
        """Stage II, of an experiment that has one; returns the seconds that it took."""
        stage = self.experiment.stage2
        if stage is None:
            raise ValueError("experiment must have a stage2, received one without")
        return self.fit("stage2", stage, trainer)

    def calibration_batches(self) -> tf.data.Dataset:
        """Training images for BatchNorm's statistics, augmented as in Stage I where nothing else is asked.

        Workers share the batches.
        """
        experiment, (count, size) = self.experiment, self.experiment.calibration
        asked = experiment.calibration_augment
        augment = experiment.stage1.augment if asked is None else asked
        size = min(size, len(self.train))
        count = min(count, max(len(self.train) // size, 1))
        return self.plain_batches(size, augment, *part_of(self.strategy, count))

    def deployed(self) -> ImageModel:
        """The model as ``zoo.load`` will give it, in float32, whatever the precision of the training."""
        return self.model.in_float32()

    def score_levels(self, split: str = "held_out") -> list[dict[str, Any]]:
        """Figures of every level on the held-out images, or on a part of the data."""
        return evaluate_levels(self.deployed(), *self.labelled(split))

    def predictions(self, model: Any, split: str) -> Predictions:
        """What every level and the gate say of the held-out images, or of a part of the data."""
        return score(model, *self.labelled(split))

    def labelled(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """The held-out images, or a part of the data, and their labels."""
        if split == "held_out":
            return self.x_held, self.held_out.labels
        source = self.trial(self.sources[split])
        return source.images(self.experiment.image_size), source.labels

    def supernet_trainer(self) -> SupernetTrainer:
        """Stage I."""
        return self.make_trainer(self.experiment.stage1, "stage1", SupernetTrainer)

    def gate_trainer(self) -> GateTrainer | None:
        """Stage II, or None where the experiment has none."""
        stage = self.experiment.stage2
        return None if stage is None else self.make_trainer(stage, "stage2", GateTrainer)

    def make_trainer(self, stage: TrainingStage, name: str, kind: Any) -> Any:
        """The trainer of a stage, of a class, with the stage's arguments."""
        arguments = stage.trainer
        try:
            return kind(self.model, **{"seed": self.experiment.seed, **arguments})
        except TypeError as error:
            raise ValueError(f"{name}: trainer={arguments!r} does not suit {kind.__name__}: {error}") from error


def _some(source: data.Source, count: int) -> data.Source:
    """So many images of a set, every class in proportion, or all that there are."""
    return source if count >= len(source) else source.split(count)[1]
