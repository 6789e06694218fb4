"""The first step: BatchNorm statistics and a classifier on the features of a network that stays as it is."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.models.supernet import Supernet
from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.folded import Folded

STEPS, RATE, DECAY = 120, 3e-3, 1e-2  # of Adam over all features; measured on 1,200 photos
SMOOTHING = 0.1


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
    optimizer = keras.optimizers.Adam(RATE)
    optimizer.build([kernel, bias])
    truth = tf.one_hot(labels, model.num_classes) * (1 - SMOOTHING) + SMOOTHING / model.num_classes

    @tf.function(autograph=False)
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = DECAY * tf.nn.l2_loss(tf.convert_to_tensor(kernel))
            for x in features:
                logits = x @ kernel[: x.shape[1]] + bias
                loss += tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(truth, logits)) / len(features)
        optimizer.apply(tape.gradient(loss, [kernel, bias]), [kernel, bias])

    for _ in range(STEPS):
        step()


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
    for x, y in dataset:
        parts.append(run(model.check_images(x)))
        labels.append(y)
    return [tf.concat(level, axis=0) for level in zip(*parts, strict=True)], np.concatenate(labels)
