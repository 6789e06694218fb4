"""An experiment as plain values: what ``zoo/<preset>/experiment.py`` holds and ``ds-keras train`` runs."""

import os
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from ds_keras.core.files import expanded, shown
from ds_keras.data import Source, augmentation
from ds_keras.training.arguments import NOT_NEGATIVE, POSITIVE, SHARE, Check, check_arguments, one_of


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(_whole(n, 1) for n in value)


def _at_least(least: int) -> Check:
    return lambda value: _whole(value, least), f"an integer of at least {least}"


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check[0](value), f"{check[1]}, or None"


def _recipe(value: Any) -> bool:
    return isinstance(value, str) and augmentation(value) is not None  # it raises for what it does not know


_TEXT: Check = (lambda value: isinstance(value, str), "a string")
_NAME: Check = (lambda value: isinstance(value, str) and value.strip() != "", "a string that is not empty")
_PAIR: Check = (_pair, "two integers of at least 1")
_AUGMENT: Check = (_recipe, "a string (see ds_keras.data.augmentation)")
_CALLED: Check = (callable, "a function")
_STAGE_FIELDS: dict[str, Check] = {
    "epochs": _at_least(1),
    "learning_rate": POSITIVE,
    "optimizer": (lambda value: value in ("sgd", "adam", "adamw"), "'sgd', 'adam' or 'adamw'"),
    "batch_size": _at_least(1),
    "warmup": SHARE,
    "cycles": (_at_least(1)[0], "at least 1"),
    "augment": _AUGMENT,
    "clip_norm": _or_none(POSITIVE),
    "weight_decay": NOT_NEGATIVE,
    "mixup": NOT_NEGATIVE,
    "image_size": _or_none(_PAIR),
    "seconds": _or_none(POSITIVE),
    "trainer": (lambda value: isinstance(value, dict) and all(isinstance(k, str) for k in value), "a dictionary"),
}
_FIELDS: dict[str, Check] = {
    "name": _NAME,
    "data": _NAME,
    "model": _CALLED,
    "stage1": (lambda value: isinstance(value, TrainingStage), "a TrainingStage"),
    "stage2": (lambda value: value is None or isinstance(value, TrainingStage), "a TrainingStage, or None"),
    "image_size": _or_none(_PAIR),
    "held_out": (
        lambda value: _whole(value, 1) or (isinstance(value, float) and 0 < value < 1) or _NAME[0](value),
        "an integer of at least 1, a share in (0, 1), or the name of a part of the data",
    ),
    "train_images": (_or_none(_at_least(1))[0], "at least 1"),
    "calibration": _PAIR,
    "calibration_augment": _or_none(_AUGMENT),
    "head_images": _at_least(0),
    "order_images": _at_least(0),
    "tolerance": SHARE,
    "precision": one_of(("float32", "mixed_float16", "mixed_bfloat16")),
    "data_terms": _TEXT,
    "licence": _TEXT,
    "labels": (
        lambda value: (
            value is None or (isinstance(value, tuple | list) and all(isinstance(label, str) for label in value))
        ),
        "names, or None",
    ),
    "seed": (lambda value: _whole(value, 0) and value < 2**32, "an integer in [0, 2**32)"),
}


@dataclass(frozen=True)
class TrainingStage:
    """One stage of training.

    Args:
        epochs: passes over the training part.
        learning_rate: peak; linear warm-up over ``warmup`` of the steps, then cosine to 0; ``cycles`` times.
        optimizer: "sgd" (Nesterov momentum 0.9), "adam" or "adamw".
        batch_size: images a step.
        warmup: share of a cycle's steps.
        cycles: times that warm-up and cosine run, over equal parts of the stage (warm restarts, arXiv 1608.03983).
        augment: see ``ds_keras.data.augmentation``.
        clip_norm: bound on the global norm of the gradient, or None.
        weight_decay: of "adamw" (decoupled, arXiv 1711.05101), on kernels only; the trainer's own is L2.
        mixup: alpha of mixup's Beta distribution; 0 leaves it out. Stage II takes none: it asks which images are easy.
        image_size: (height, width) of the training views, where not the experiment's: smaller ones train faster, and
            random crops show things larger than they are in a test image (arXiv 1906.06423).
        seconds: the stage ends after so much time, wherever it is, and the learning rate falls with the time, not with
            the steps (the warm-up is 20 steps then); None trains all epochs.
        trainer: further arguments of the trainer.

    Raises:
        ValueError: a value that its field cannot have, or weight decay without "adamw".
    """

    epochs: int
    learning_rate: float
    optimizer: str = "sgd"
    batch_size: int = 128
    warmup: float = 0.15
    cycles: int = 1
    augment: str = ""
    clip_norm: float | None = None
    weight_decay: float = 0.0
    mixup: float = 0.0
    image_size: tuple[int, int] | None = None
    seconds: float | None = field(default=None, repr=False)  # whose directory a run's is does not depend on it
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_arguments(_STAGE_FIELDS, vars(self))
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay of a stage belongs to optimizer='adamw', received {self.weight_decay!r} with "
                f"{self.optimizer!r}; the trainer has an L2 one of its own"
            )

    def make_optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """The optimizer with its schedule.

        Args:
            steps: of the whole stage.

        Returns:
            Keras optimizer.
        """
        cycle = max(steps // self.cycles, 1)
        warmup = max(round(cycle * self.warmup), 1)
        schedule: Any = keras.optimizers.schedules.CosineDecay(
            0.0, max(cycle - warmup, 1), warmup_target=self.learning_rate, warmup_steps=warmup
        )
        if self.seconds is not None:
            schedule = self.learning_rate  # ``loop.Clock`` moves it
        elif self.cycles > 1:
            schedule = Restarts(schedule, cycle, self.cycles)
        if self.optimizer == "sgd":
            return keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, global_clipnorm=self.clip_norm)
        if self.optimizer == "adam":
            return keras.optimizers.Adam(schedule, global_clipnorm=self.clip_norm)
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=self.weight_decay, global_clipnorm=self.clip_norm)
        # Names that do not end so; Keras asks by the name of the tf.Variable, "kernel:0".
        optimizer.exclude_from_weight_decay(var_names=[r"(?<!kernel)(?<!kernel:0)$"])
        return optimizer


@keras.saving.register_keras_serializable("ds_keras")
class Restarts(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins anew (warm restarts, arXiv 1608.03983).

    Args:
        cycle: schedule of one cycle, which keeps its last value.
        steps: of a cycle.
        cycles: how many; steps that are left over belong to the last.
    """

    def __init__(self, cycle: keras.optimizers.schedules.LearningRateSchedule, steps: int, cycles: int):
        self.cycle, self.steps, self.cycles = cycle, steps, cycles

    def __call__(self, step: Any) -> Any:
        """The rate at a step."""
        done = keras.ops.minimum(step // self.steps, self.cycles - 1)
        return self.cycle(step - done * self.steps)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        cycle = keras.saving.serialize_keras_object(self.cycle)
        return {"cycle": cycle, "steps": self.steps, "cycles": self.cycles}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Restarts":
        """The schedule that ``get_config`` describes."""
        return cls(**{**config, "cycle": keras.saving.deserialize_keras_object(config["cycle"])})


@dataclass(frozen=True)
class Experiment:
    """Everything that determines a preset: data, network, both stages.

    Args:
        name: of the preset.
        data: see ``ds_keras.data.load``; the part after ":" may be replaced by ``--data``.
        model: (num_classes, input_shape) -> supernet, unbuilt.
        stage1: the supernet.
        stage2: the gate, or None to leave it untrained.
        image_size: (height, width) of the training images, or None for sets of one size.
        held_out: images (int) or share (float) of the training set that thresholds and policy are chosen on; or the
            name of a part of the data ("val") that is there for this.
        train_images: train on so many images only (short trials); None for all that are not held out.
        calibration: (batches, batch size) for the BatchNorm statistics.
        calibration_augment: of these batches; None is Stage I's.
        head_images: so many training images train the classifier first, on features of the network as it came, after
            BatchNorm's statistics were measured on them; for trained weights with a new classifier. 0 leaves it.
        order_images: so many training images say which channels matter (``importance.order_channels``, "taylor"), by
            which they are ordered before Stage I; for a network that begins with trained weights. 0 leaves the order.
        tolerance: accuracy that the default policy may lose on the held-out images, in [0, 1]; two standard errors of
            the loss count as lost too, so fewer than 2 / tolerance images seldom choose another than the largest level.
        precision: Keras dtype policy.
        data_terms: one line for the card: what the data is and its terms.
        licence: of the weights; "" for none stated.
        labels: names of the classes as users read them, in the order of the data's; None keeps the data's own.
        seed: of everything random, in [0, 2**32).

    Raises:
        ValueError: a value that its field cannot have, or values that do not go together.
    """

    name: str
    data: str
    model: Callable[[int, tuple[int, int, int]], Any]
    stage1: TrainingStage
    stage2: TrainingStage | None
    image_size: tuple[int, int] | None = None
    held_out: int | float | str = 0.1
    train_images: int | None = None
    calibration: tuple[int, int] = (40, 500)
    calibration_augment: str | None = None
    head_images: int = 0
    order_images: int = 0
    tolerance: float = 0.003
    precision: str = "float32"
    data_terms: str = ""
    licence: str = ""
    labels: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_arguments(_FIELDS, vars(self))
        if self.stage2 is not None and self.stage2.mixup:
            raise ValueError(f"stage2: mixup must be 0, received {self.stage2.mixup!r}")

    def divide(self, sources: Mapping[str, Source]) -> tuple[Source, Source]:
        """What to train on, and what to choose on.

        Args:
            sources: the parts of the data, see ``ds_keras.data.load``.

        Returns:
            (training images, held-out images).

        Raises:
            ValueError: ``held_out`` names no part that could be held out.
        """
        if not isinstance(self.held_out, str):
            return sources["train"].split(self.held_out, seed=self.seed)
        parts = sorted(set(sources) - {"train", "test"})
        if self.held_out not in parts:
            raise ValueError(f"held_out must be one of {parts}, a number or a share, received {self.held_out!r}")
        return sources["train"], sources[self.held_out]


def read_experiment(path: str | Path) -> Experiment:
    """Runs a config file and returns its ``EXPERIMENT``.

    Args:
        path: Python file of your own: it is executed.

    Returns:
        Experiment.

    Raises:
        ValueError: no such file, one that Python cannot run, or it defines no ``EXPERIMENT``.
    """
    path = expanded(path)
    if not os.path.isfile(path):
        what = "received the directory" if os.path.isdir(path) else "this one is missing:"
        raise ValueError(f"config must be a Python file, {what} {str(path)!r}")
    try:
        experiment = runpy.run_path(str(path)).get("EXPERIMENT")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the file raises; it may also call exit()
        raise ValueError(f"config {str(path)!r} does not run: {type(error).__name__}: {shown(error, 500)}") from error
    if not isinstance(experiment, Experiment):
        found = shown(repr(experiment))
        raise ValueError(f"{path} must define EXPERIMENT = ds_keras.experiments.Experiment(...), found {found}")
    return experiment
