"""What a run does besides with a network that starts from trained weights.

Its classifier is trained on features that stay, its channels are ordered by images.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from ds_keras.convert.importance import order_channels
from ds_keras.core.timing import counted
from ds_keras.models.supernet import Supernet
from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.distributed.strategies import is_chief, several_workers
from ds_keras.training.distributed.workers import sum_over_workers
from ds_keras.training.folded import Folded

if TYPE_CHECKING:
    from ds_keras.experiments.run import Run

BATCH = 100  # images at a time
HEAD_STEPS, HEAD_RATE, HEAD_DECAY = 120, 3e-3, 1e-2  # of Adam over all features; measured on 1,200 photos
HEAD_SMOOTHING = 0.1


def prepare(run: "Run") -> None:
    """What the experiment asks for before Stage I: a first classifier, then the order of the channels.

    A run that goes on from a checkpoint has both already. Every worker does it; then all take the weights of the chief,
    since another machine may round, and so order, otherwise.
    """
    if any(run.workdir.glob("stage1/step-*.npz")):
        return
    head, order = run.experiment.head_images, run.experiment.order_images
    if head:
        logging.info("%s: the classifier learns first, from the features of %d images", run.experiment.name, head)
        frozen = run.experiment.stage1.trainer.get("frozen_start", False)
        train_head(run.model, _plain_batches(run, head), start=not frozen)
    if order:
        logging.info("%s: channels are ordered by importance, measured on %d images", run.experiment.name, order)
        order_channels(run.model, "taylor", _plain_batches(run, order))
    if (head or order) and several_workers(run.strategy):
        chief = is_chief(run.strategy)
        for weight in run.model.weights:
            array = keras.ops.convert_to_numpy(weight)
            weight.assign(sum_over_workers(run.strategy, array if chief else np.zeros_like(array)))


def _plain_batches(run: "Run", count: int) -> tf.data.Dataset:
    """The first so many training images, of the size that the network is used at."""
    size = min(BATCH, count)
    return run.plain_batches(size, "flip", 0, -(-count // size))


class _BeforeClassifier(Folded):
    """Runs a level and keeps what its classifier reads."""

    def __init__(self, level: int, model: Supernet):
        super().__init__(level)
        self.model, self.features = model, None

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        if layer is self.model.classifier:
            self.features = x
        return super().apply(layer, x)


def train_head(model: Supernet, dataset: Iterable, start: bool = False) -> None:
    """Measures the levels' BatchNorm statistics on new images, and trains the classifier that all levels share.

    The shared start runs once for all levels, and nothing but the classifier is trained, so the features are made once.

    Args:
        model: supernet with a classifier of the new classes; changed in place.
        dataset: batches of (images in [0, 255], (batch,) integer labels); iterable again.
        start: whether the statistics of the shared start are measured too.
    """
    calibrate_batch_norm(model, dataset, start=start)
    features, labels = _features(model, dataset)
    kernel, bias = model.classifier.kernel, model.classifier.bias
    kernel.assign(tf.zeros_like(kernel)), bias.assign(tf.zeros_like(bias))
    optimizer = keras.optimizers.Adam(HEAD_RATE)
    optimizer.build([kernel, bias])
    truth = tf.one_hot(labels, model.num_classes) * (1 - HEAD_SMOOTHING) + HEAD_SMOOTHING / model.num_classes
    strategy = tf.distribute.get_strategy()

    def step() -> None:  # every replica has all features, and makes the same step
        with tf.GradientTape() as tape:
            loss = HEAD_DECAY * tf.nn.l2_loss(tf.convert_to_tensor(kernel))
            for x in features:
                logits = x @ kernel[: x.shape[1]] + bias
                loss += tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(truth, logits)) / len(features)
            loss /= strategy.num_replicas_in_sync  # gradients are summed over replicas
        optimizer.apply(tape.gradient(loss, [kernel, bias]), [kernel, bias])

    steps = tf.function(lambda: strategy.run(step), autograph=False)
    for _ in range(HEAD_STEPS):
        steps()


def _features(model: Supernet, dataset: Iterable) -> tuple[list[tf.Tensor], np.ndarray]:
    """What the classifier reads at each level, (images, features), and the labels."""

    @tf.function(autograph=False, reduce_retracing=True)
    def run(x: tf.Tensor) -> list[Any]:
        begun, _ = model.start(Folded(0), x)
        visitors = [_BeforeClassifier(level.index, model) for level in model.levels]
        for visitor in visitors:
            model.body(visitor, begun)
        return [visitor.features for visitor in visitors]

    parts, labels = [], []
    for x, y in counted(dataset, f"{model.name}: features of all levels"):
        parts.append(run(model.check_images(x)))
        labels.append(y)
    return [tf.concat(level, axis=0) for level in zip(*parts, strict=True)], np.concatenate(labels)
