"""Trains every level of a detector."""

from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.visitor import Compute, Shapes
from ds_keras.detection.losses import Found, assign, loss_of
from ds_keras.detection.network import DSDetector
from ds_keras.training import arguments
from ds_keras.training.base import Trainer, means
from ds_keras.training.passes import add_gradients

CHECKS = {"distill": arguments.SHARE, "distill_start": arguments.COUNT}


class DetectorTrainer(Trainer):
    """Each step runs every level on one batch, the largest first, which teaches the others its boxes and scores.

    Gradients of all levels are summed, then one optimizer step. Afterwards ``training.calibrate_batch_norm`` measures
    the statistics of every level.

    Args:
        model: detector, trained in place.
        distill: share of the largest level's scores and boxes in what the others have to give, in [0, 1].
        distill_start: steps before that: an untrained teacher does harm.
        frozen_start: the backbone's shared start keeps its weights and statistics.
        seed: for ``Trainer``; nothing here is random.
        **kwargs: of ``keras.Model``.

    Raises:
        ValueError: bad argument.

    Source: Stage I of DS-Net, arXiv 2103.13258, section 3.3, with the losses of a detector.

    Example:
        >>> trainer = DetectorTrainer(model)
        >>> trainer.compile(keras.optimizers.Adam(1e-3))
        >>> trainer.fit(detection.batches(sets.train, 8, (192, 256)), steps_per_epoch=100)
    """

    network: DSDetector

    def __init__(
        self,
        model: DSDetector,
        distill: float = 0.5,
        distill_start: int = 100,
        frozen_start: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(model, DSDetector, seed, **kwargs)
        arguments.check_arguments(CHECKS, locals())
        self.distill, self.distill_start, self.frozen_start = distill, distill_start, bool(frozen_start)
        names = [f"level{level.index}_{what}" for level in model.levels for what in ("loss", "overlap")]
        self.progress = means(*names)

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """The variables that the boxes depend on, without those of a frozen start."""
        visitor = _Variables(self.network.levels[-1].index)
        features, _ = self.network.start(visitor, self.network.input_shape)
        if self.frozen_start:
            visitor.found.clear()
        self.network.body(visitor, features)
        return list(visitor.found.values())

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step over all levels."""
        images, boxes, classes = data
        model, variables = self.network, self.trained_variables
        targets = assign(model, boxes, classes)
        share = tf.where(self.step < self.distill_start, 0.0, self.distill)
        total: list[tf.Tensor | None] = [None] * len(variables)
        found: dict[int, Found] = {}
        features, _ = model.start(Compute(0), images)
        for level in reversed(range(len(model.levels))):
            teacher = found.get(len(model.levels) - 1)
            with tf.GradientTape() as tape:
                visitor = Compute(level, training=True)
                if not self.frozen_start:
                    features, _ = model.start(visitor, images)
                found[level] = loss_of(model, model.body(visitor, features), targets, teacher, share)
                scaled = self.share(self.check_finite(found[level].loss, level))
            total = add_gradients(total, tape.gradient(scaled, variables))
        self.update(*zip(*((g, v) for g, v in zip(total, variables, strict=True) if g is not None), strict=True))
        return self.report([value for k in sorted(found) for value in (found[k].loss, found[k].overlap)])


class _Variables(Shapes):
    """Collects the trainable variables of the layers that it sees."""

    def __init__(self, level: int):
        super().__init__(level)
        self.found: dict[int, keras.Variable] = {}

    def visit(self, layer: keras.layers.Layer, shape: Any) -> None:
        self.found.update({id(variable): variable for variable in layer.trainable_variables})
