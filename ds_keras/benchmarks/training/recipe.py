"""What each part of a Stage I recipe saves: its step beside the plain one, and that beside PyTorch."""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from absl import logging

from ds_keras.benchmarks.training.torch_step import torch_step
from ds_keras.core.timing import paired
from ds_keras.training.stage1 import SupernetTrainer

if TYPE_CHECKING:
    from ds_keras.experiments import TrainingStage
    from ds_keras.models.supernet import Supernet

FASTER = ("shares", "frozen_start", "fixed_statistics")  # arguments of the trainer, added in this order
STEPS = 10**6  # of the schedule: so its warm-up hardly moves the weights
WARMUP = 1  # pairs that do not count: the first traces


def recipe(model: "Supernet", stage: "TrainingStage", rounds: int = 7) -> list[dict[str, Any]]:
    """A Stage I step with ever more of what makes it faster, each in turn with the plain step.

    The plain step runs every level on the whole batch in float32, and trains the shared start. In this order are added:
    what the recipe has of ``FASTER``, and mixed_bfloat16, which is several times slower on processors without it. The
    last row is the plain step's passes in PyTorch (see ``torch_step``), where it is installed.

    Args:
        model: supernet; its weights move.
        stage: the recipe: a batch of its size and views of its size are trained with its trainer and optimizer.
        rounds: pairs for each row.

    Returns:
        A row for each way: kind, "images" (views in a batch), and the fields of ``Paired`` (B is the plain step).
    """
    height, width = stage.image_size or model.image_shape[:2]
    rng, count = np.random.default_rng(0), stage.batch_size
    images = rng.uniform(0, 255, (count, height, width, model.image_shape[2])).astype("float32")
    labels = np.arange(count) % model.num_classes
    plain = {name: value for name, value in stage.trainer.items() if name not in FASTER}
    plain_step = _step(model, stage, {**plain, "num_random": None}, images, labels)
    ways: dict[str, Callable[[], Any]] = {}
    for name in FASTER:
        if stage.trainer.get(name):
            plain[name] = stage.trainer[name]
            ways[f"+ {name}"] = _step(model, stage, plain, images, labels)
    ways["+ bfloat16"] = _step(model.clone("mixed_bfloat16"), stage, plain, images, labels)
    if importlib.util.find_spec("torch"):
        ways["plain, PyTorch"] = partial(torch_step(model, stage.learning_rate), images, labels.astype("int64"))
    else:
        logging.info("PyTorch is not installed, so it is left out: pip install 'ds_keras[convert]'")
    return [
        {
            "what": "Stage I step",
            "level": "every level",
            "kind": kind,
            "images": count,
            **paired(way, plain_step, rounds, WARMUP)._asdict(),
        }
        for kind, way in ways.items()
    ]


def _step(
    model: "Supernet", stage: "TrainingStage", arguments: dict[str, Any], images: np.ndarray, labels: np.ndarray
) -> Callable[[], Any]:
    """A compiled step of a trainer."""
    trainer = SupernetTrainer(model, **arguments)
    trainer.compile(stage.make_optimizer(STEPS))
    trainer.optimizer.build(trainer.trained_variables)
    batch = tf.constant(images), tf.constant(labels, tf.int32)
    step = tf.function(lambda: trainer.train_step(batch), autograph=False)
    return lambda: step()["largest_loss"].numpy()
