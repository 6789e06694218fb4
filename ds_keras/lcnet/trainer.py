"""Trains LC-ResNet: the network and its scale predictors together, towards an average cost."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import mean_over_replicas, rows_of_replica
from ds_keras.lcnet.model import LCResNet
from ds_keras.lcnet.skipping import in_full
from ds_keras.training import losses
from ds_keras.training.base import Trainer, accuracy, means

PRICE = 10.0  # price of a whole network too much
REACH = 0.5  # how far below 0 the price still moves what a predictor gave


class LCTrainer(Trainer):
    """Trains an ``LCResNet`` on labels and a budget.

    loss = CE(logits, labels) + price x E[MAdds] + weight_decay x half the squared norm of the kernels

    in shares of what the whole network costs. The goal falls from 1 to ``target`` over the first ``anneal`` steps, so
    that blocks and groups are given up one after another. With e = E[MAdds] - goal, the price is 10 e plus
    ``price_rate`` x the sum of e over the steps so far: a fixed one would be too low for one network and too high for
    another. Below the goal it is negative. Whether a unit runs (its scale is above 0) has no gradient;
    the price's goes straight through to what the predictor gave, down to 0.5 below 0: a unit that has been given up
    can come back from there. The labels' gradient needs no such step, because the scales multiply what they leave.

    Args:
        model: LC-ResNet, trained in place.
        target: average MAdds to aim at, as a share of the whole network's; None trains the network alone, everything
            at the scale 1, and leaves the predictors as they are.
        price_rate: see above.
        anneal: steps, see above.
        keep: without a target, units run at random: every image draws a share between ``keep`` and 1, and runs each
            unit with that probability (stochastic depth, arXiv 1603.09382, of a rate of its own for each image). So
            the network learns to do with any part of it. 1 runs everything.
        train_network: False trains the predictors alone. Of the network, only BatchNorm's moving averages change: they
            follow what runs.
        label_smoothing: in [0, 1).
        weight_decay: of the kernels of convolutions and classifier.
        seed: see ``Trainer``.
        **kwargs: of ``keras.Model``.

    Raises:
        ValueError: bad arguments, or a target that the network cannot reach.

    Source: LC-Net, arXiv 2007.15151, whose sparsity term and schedule we do not know: price, annealing and
    straight-through estimate are ours.

    Example:
        >>> trainer = LCTrainer(model, target=0.5, anneal=2000)
        >>> trainer.compile(keras.optimizers.Adam(1e-3))
        >>> trainer.fit(train, validation_data=held_out, epochs=10)
        >>> trainer.calibrate(train.take(40))
    """

    def __init__(
        self,
        model: LCResNet,
        target: float | None = 0.5,
        price_rate: float = 0.02,
        anneal: int = 0,
        keep: float = 1.0,
        train_network: bool = True,
        label_smoothing: float = 0.1,
        weight_decay: float = 1e-4,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(model, LCResNet, seed, **kwargs)
        least = float(model.spent(tf.zeros([1, len(model.units)]))[0])
        number = isinstance(target, int | float) and not isinstance(target, bool)
        if target is not None and not (number and least <= target <= 1):
            raise ValueError(f"target must be None or lie in [{least:.3f}, 1], received {target!r}")
        if type(anneal) is not int or anneal < 0:
            raise ValueError(f"anneal must be an integer of at least 0, received {anneal!r}")
        if not (0 <= label_smoothing < 1 and 0 <= price_rate < math.inf and 0 <= weight_decay < math.inf):
            raise ValueError(
                "label_smoothing must be in [0, 1), price_rate and weight_decay at least 0 and finite, received "
                f"{label_smoothing!r}, {price_rate!r}, {weight_decay!r}"
            )
        if not 0 < keep <= 1 or (target is not None and keep < 1):
            raise ValueError(f"keep must be in (0, 1], and 1 with a target, received {keep!r}")
        if type(train_network) is not bool or (target is None and not train_network):
            raise ValueError(f"train_network must be True, or False with a target, received {train_network!r}")
        for norm in model.norms:  # statistics of the whole batch, however many replicas share it
            norm.synchronized = tf.distribute.get_strategy().num_replicas_in_sync > 1
        self.target, self.price_rate, self.anneal = target, price_rate, anneal
        self.keep, self.train_network = keep, train_network
        self.owed = self.add_weight(name="owed", shape=(), initializer="zeros", trainable=False)  # the sum of e
        self.label_smoothing, self.weight_decay = label_smoothing, weight_decay
        self.progress = means("task_loss", "train_accuracy", "train_madds", "price")
        self.evaluation = means("accuracy", "madds")

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """Network and predictors, or one of them."""
        own = {id(v) for v in self.network.predictors}
        parts = {True: self.target is not None, False: self.train_network}
        return [v for v in self.network.trainable_variables if parts[id(v) in own]]

    def call(self, x: Any, training: bool = False) -> tf.Tensor:
        """The network's logits."""
        return self.network.forward(x, scales=self.scales)[0]

    def drawn(self, count: tf.Tensor) -> tf.Tensor | None:
        """The scales of a step without a target: (1, units) of 1, or (count, units) of 0 and 1 drawn at random."""
        if self.target is not None or self.keep == 1:
            return self.scales
        units = len(self.network.units)
        share, each = (
            rows_of_replica(partial(_uniform, seed=self.step_seed(salt), columns=columns), count)
            for salt, columns in enumerate((1, units))
        )
        return tf.cast(each < self.keep + (1 - self.keep) * share, tf.float32)

    @property
    def scales(self) -> tf.Tensor | None:
        """1 for everything where there is no target; else what the predictors give."""
        return tf.ones([1, len(self.network.units)]) if self.target is None else None

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        truth = losses.smooth_labels(y, self.network.num_classes, self.label_smoothing)
        weights = 1.0 if sample_weight is None else tf.cast(sample_weight, tf.float32)
        with tf.GradientTape() as tape:
            logits, predicted = self.network.forward(x, in_full, training=True, scales=self.drawn(tf.shape(x)[0]))
            task = losses.cross_entropy(truth, logits, weights)
            spent = mean_over_replicas(tf.reduce_mean(self.network.spent(runs(predicted))))
            price = self.price(spent)
            loss = task + price * spent + self.decay()
            scaled = self.share(self.check_finite(loss, "all"))
        self.update(tape.gradient(scaled, self.trained_variables), self.trained_variables)
        for metric, value in zip(self.progress, (task, accuracy(y, logits), spent, price), strict=True):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self.progress}

    def test_step(self, data: Any) -> dict[str, Any]:
        """Accuracy, and average MAdds as a share of the whole network's."""
        x, y = data[0], data[1]
        logits, predicted = self.network.forward(x, in_full, scales=self.scales)
        spent = self.network.spent(tf.cast(predicted > 0, tf.float32))
        for metric, value in zip(self.evaluation, (accuracy(y, logits), spent), strict=True):
            metric.update_state(value)
        return {metric.name: metric.result() for metric in self.evaluation}

    def calibrate(self, dataset: Iterable) -> int:
        """Replaces BatchNorm's moving averages by the mean of its statistics over batches.

        About 40 batches of 500 images suffice. Weights are not touched.

        Args:
            dataset: batches of images, or of (images, labels), of one size.

        Returns:
            Number of batches.

        Raises:
            ValueError: the dataset is empty.
        """
        norms, used = self.network.norms, 0
        before = [norm.momentum for norm in norms]
        try:
            for batch in dataset:
                for norm in norms:
                    norm.momentum = used / (used + 1)
                x = batch[0] if isinstance(batch, tuple | list) else batch
                self.network.forward(x, in_full, training=True, scales=self.scales)  # not traced: momentum changes
                used += 1
        finally:
            for norm, momentum in zip(norms, before, strict=True):
                norm.momentum = momentum
        if not used:
            raise ValueError("dataset must hold at least one batch, received none")
        return used

    def price(self, spent: tf.Tensor) -> tf.Tensor:
        """What a step pays for its MAdds, by what it and those before spent too much."""
        if self.target is None:
            return tf.constant(0.0)
        too_much = tf.stop_gradient(spent) - self.goal()
        return PRICE * too_much + self.price_rate * self.owed.assign_add(too_much)

    def goal(self) -> tf.Tensor:
        """The share of the MAdds that this step aims at."""
        if self.target is None:
            return tf.constant(1.0)
        annealed = tf.minimum((tf.cast(self.step, tf.float32) + 1) / (self.anneal + 1), 1.0)
        return 1 - annealed * (1 - self.target)

    def decay(self) -> tf.Tensor:
        """``weight_decay`` x half the squared norm of the kernels, without the predictors'."""
        if not self.train_network:
            return tf.constant(0.0)
        own = {id(v) for v in self.network.predictors}
        kernels = [v for v in self.network.trainable_variables if v.name == "kernel" and id(v) not in own]
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(kernel)) for kernel in kernels])


def _uniform(rows: tf.Tensor, seed: tf.Tensor, columns: int) -> tf.Tensor:
    return tf.random.stateless_uniform([rows, columns], seed)


def runs(predicted: tf.Tensor) -> tf.Tensor:
    """1 where a unit runs and 0 where not; its gradient is that of what the predictor gave, as far as ``REACH``.

    Args:
        predicted: (batch, units) float32, not limited.

    Returns:
        The same shape.
    """
    near = tf.maximum(predicted, -REACH)
    return near + tf.stop_gradient(tf.cast(predicted > 0, tf.float32) - near)
