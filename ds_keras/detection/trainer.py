"""Trains every level of a detector."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.visitor import Compute, Seen
from ds_keras.detection.head import Head
from ds_keras.detection.losses import Found, Targets, assign, loss_of
from ds_keras.detection.network import DSDetector
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.training import arguments
from ds_keras.training.base import Trainer, means
from ds_keras.training.calibration import calibrate_batch_norm
from ds_keras.training.distillation import follow
from ds_keras.training.folded import Folded
from ds_keras.training.passes import PassSettings, add_gradients

CHECKS = {
    "distill": arguments.SHARE,
    "distill_start": arguments.COUNT,
    "ema_decay": arguments.BELOW_ONE,
}


class DetectorTrainer(Trainer):
    """Each step runs every level on one batch, the largest first, which teaches the others its boxes and scores.

    Gradients of all levels are summed, then one optimizer step. ``average`` is the moving average of the network, which
    finds more than the network itself. Afterwards ``finish`` puts the average in the network's place and measures the
    head's statistics.

    Args:
        model: detector, trained in place.
        distill: share of the largest level's scores and boxes in what the others have to give, in [0, 1].
        distill_start: steps before that: an untrained teacher does harm.
        frozen_start: the backbone's shared start keeps its weights and statistics.
        fixed_statistics: the backbone keeps its BatchNorm statistics, folded into its convolutions: a third of the time
            of a step is saved. They should be those of the images: see ``training.calibrate_batch_norm``.
        shares: for each level, the share of the batch that its pass sees (the first images), the smallest all of it.
        class_weights: of the things of each class in the losses; default 1. See ``rare_weights``.
        ema_decay: of the average; warmed up as min(ema_decay, (1 + step) / (10 + step)).
        seed: for ``Trainer``; nothing here is random.
        **kwargs: of ``keras.Model``.

    Raises:
        ValueError: bad argument.

    Source: Stage I of DS-Net, arXiv 2103.13258, section 3.3, with the losses of a detector.

    Example:
        >>> trainer = DetectorTrainer(model)
        >>> trainer.compile(trainer.make_optimizer(2e-3))
        >>> trainer.fit(detection.batches(sets.train, 8, (192, 256)), steps_per_epoch=100)
        >>> trainer.finish(detection.batches(sets.train, 8, (192, 256), augment=False).take(8))
    """

    network: DSDetector

    def __init__(
        self,
        model: DSDetector,
        distill: float = 0.5,
        distill_start: int = 100,
        frozen_start: bool = True,
        fixed_statistics: bool = True,
        shares: Sequence[float] | None = None,
        class_weights: Sequence[float] | None = None,
        ema_decay: float = 0.998,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(model, DSDetector, seed, **kwargs)
        arguments.check_arguments(CHECKS, locals())
        self.distill, self.distill_start, self.frozen_start = distill, distill_start, bool(frozen_start)
        self.fixed_statistics, self.ema_decay = bool(fixed_statistics), ema_decay
        if class_weights is not None and (len(class_weights) != model.num_classes or not min(class_weights) > 0):
            raise ValueError(
                f"class_weights must be a positive number for each of {model.num_classes} classes, received "
                f"{class_weights!r}"
            )
        self.class_weights = class_weights
        self.settings = PassSettings(model, Compute, frozen_start, (), shares, None)
        self.average = model.clone()
        self.average.trainable = False
        names = [f"level{level.index}_{what}" for level in model.levels for what in ("loss", "overlap")]
        self.progress = means(*names)

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """The variables that the boxes depend on, without those of a frozen start."""
        visitor = Seen(self.network.levels[-1].index)
        features, _ = self.network.start(visitor, self.network.input_shape)
        if self.frozen_start:
            visitor.layers.clear()
        self.network.body(visitor, features)
        return list({id(v): v for layer in visitor.layers for v in layer.trainable_variables}.values())

    def make_optimizer(self, learning_rate: float, backbone: float = 0.25, **kwargs: Any) -> keras.optimizers.Optimizer:
        """Adam with a smaller learning rate for the backbone, which has learnt already; the head is new.

        Args:
            learning_rate: of the head.
            backbone: learning rate of the backbone over that of the head.
            **kwargs: of ``keras.optimizers.Adam``.
        """
        head = {id(v) for v in self.network.head_block.variables}
        factors = [1.0 if id(v) in head else backbone for v in self.trained_variables]
        return _TwoRates(factors, learning_rate=learning_rate, **{"global_clipnorm": 10.0, **kwargs})

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step over all levels."""
        images, boxes, classes = data
        model, variables = self.network, self.trained_variables
        targets = assign(model, boxes, classes)
        share = tf.where(self.step < self.distill_start, 0.0, self.distill)
        total: list[tf.Tensor | None] = [None] * len(variables)
        found: dict[int, Found] = {}
        features, _ = model.start(Folded(0), images)
        for level in reversed(range(len(model.levels))):
            teacher = found.get(len(model.levels) - 1)
            with tf.GradientTape() as tape:
                if not self.frozen_start:
                    features, _ = model.start(Compute(level, training=True), images)
                seen, aims = self._part(level, (features, targets))
                found[level] = loss_of(
                    model, model.body(self._visitor(level), seen), aims, teacher, share, self.class_weights
                )
                scaled = self.share(self.check_finite(found[level].loss, level))
            total = add_gradients(total, tape.gradient(scaled, variables))
        self.update(*zip(*((g, v) for g, v in zip(total, variables, strict=True) if g is not None), strict=True))
        follow(self.average, model, self.ema_decay, self.step)
        return self.report([value for k in sorted(found) for value in (found[k].loss, found[k].overlap)])

    def _visitor(self, level: int) -> Compute:
        return _Tuned(level, self.network.head_block) if self.fixed_statistics else Compute(level, training=True)

    def _part(self, level: int, values: tuple[Any, Targets]) -> tuple[Any, Targets]:
        """The images of a batch that a level sees."""
        parts = self.settings.part_of_batch(level, *tf.nest.flatten(values))
        return tf.nest.pack_sequence_as(values, parts)

    def finish(self, images: Any) -> None:
        """Puts the average in the network's place, and measures the BatchNorm statistics that were not kept.

        Args:
            images: data set of batches of images, or of (images, ...), that ends.
        """
        self.network.set_weights(self.average.get_weights())
        kept = self._backbone_norms() if self.fixed_statistics else []
        try:
            for norm in kept:
                norm.trainable = False
            calibrate_batch_norm(self.network, images, start=not self.frozen_start)
        finally:
            for norm in kept:
                norm.trainable = True

    def _backbone_norms(self) -> list[keras.layers.Layer]:
        """The BatchNorms of the backbone that train."""
        visitor = Seen(self.network.levels[-1].index)
        self.network.backbone.endpoints(visitor, self.network.input_shape)
        return [layer for layer in visitor.layers if isinstance(layer, SliceableBatchNormalization) and layer.trainable]


class _Tuned(Folded):
    """The backbone with its statistics, the head with those of the batch."""

    def __init__(self, level: int, head: Head):
        super().__init__(level)
        self.head = head

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        """Applies ``layer``."""
        if layer is self.head:
            return Compute(self.level, training=True)(layer, x)
        return super().__call__(layer, x)


class _TwoRates(keras.optimizers.Adam):
    """Adam with a factor of the learning rate for each variable, in the order in which it is built."""

    def __init__(self, factors: Sequence[float], **kwargs: Any):
        super().__init__(**{"name": "adam", **kwargs})  # TensorFlow takes no name that begins as the class's
        self.factors = tuple(factors)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one variable."""
        super().update_step(gradient, variable, learning_rate * self.factors[self._get_variable_index(variable)])
