"""Trains LC-ResNet: the network and its scale predictors together, towards an average cost."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import mean_over_replicas, rows_of_replica
from ds_keras.lcnet.model import LCResNet
from ds_keras.lcnet.predictor import REACH
from ds_keras.lcnet.skipping import in_full
from ds_keras.training import losses
from ds_keras.training.arguments import NOT_NEGATIVE, SHARE, Check, check_arguments
from ds_keras.training.base import Trainer, accuracy, means

GAIN = 10.0  # price of a whole network too much
RARE = 0.01  # share of a batch; a unit that runs for fewer images, or for all but so few, counts as this
CHECKS: dict[str, Check] = {
    "balance": NOT_NEGATIVE,
    "temperature": NOT_NEGATIVE,
    "distill": SHARE,
    "train_network": (lambda value: isinstance(value, bool), "True or False"),
}


class LCTrainer(Trainer):
    """Trains an ``LCResNet`` on labels and a budget.

    loss = CE(logits, truth) + price x E[MAdds] - balance x mean H(run rates)
         + weight_decay x half the squared norm of the kernels

    in shares of what the whole network costs. The goal falls from 1 to ``target`` over the first ``anneal`` steps, so
    that blocks and groups are given up one after another. With e = E[MAdds] - goal, the price is 10 e plus
    ``price_rate`` x the sum of e over the steps so far: a fixed one would be too low for one network and too high for
    another. Below the goal it is negative. Whether a unit runs (its scale is above 0) has no gradient;
    the price's goes straight through to what the predictor gave, down to 0.5 below 0: a unit that has been given up
    can come back from there. The labels' gradient needs no such step, because the scales multiply what they leave.

    H is the entropy of a unit's run rate, the share of the batch's images that run it: largest where half of them do.
    It holds against a unit that all images run, or none, so that there is something to decide.

    Args:
        model: LC-ResNet, trained in place.
        target: average MAdds to aim at, as a share of the whole network's; None trains the network alone, everything
            at the scale 1, and leaves the predictors as they are.
        price_rate: see above.
        anneal: steps, see above.
        balance: see above.
        temperature: of the logistic noise that is added to what the predictors give, at the start; it falls to 0 with
            the goal, over ``anneal`` steps. A unit that is just on is tried off, and the other way round.
        distill: share, in [0, 1], of the truth that the whole network's probabilities make up, the labels the rest:
            those of the network, with everything at the scale 1, as it is when ``compile`` is called.
        train_network: False trains the predictors alone.
        label_smoothing: in [0, 1).
        weight_decay: of the kernels of convolutions and classifier.
        seed: see ``Trainer``.
        **kwargs: of ``keras.Model``.

    Raises:
        ValueError: bad arguments, or a target that the network cannot reach.

    Source: LC-Net, arXiv 2007.15151, whose sparsity term and schedule we do not know: price, annealing, straight-
    through estimate and balance are ours. Noise that anneals: arXiv 1611.00712. Distillation: arXiv 1503.02531.

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
        balance: float = 0.0,
        temperature: float = 0.0,
        distill: float = 0.0,
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
        given = {"balance": balance, "temperature": temperature, "distill": distill, "train_network": train_network}
        check_arguments(CHECKS, given)
        self.target, self.price_rate, self.anneal = target, price_rate, anneal
        self.balance, self.temperature, self.train_network = balance, temperature, train_network
        self.owed = self.add_weight(name="owed", shape=(), initializer="zeros", trainable=False)  # the sum of e
        self.distill, self.teacher = distill, model.clone() if distill else None
        self.label_smoothing, self.weight_decay = label_smoothing, weight_decay
        self.progress = means("task_loss", "train_accuracy", "train_madds", "price")
        self.evaluation = means("accuracy", "madds")

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """All, without the predictors where there is no target; or the predictors alone."""
        own = {id(v) for v in self.network.predictors if v.trainable}
        network = [v for v in self.network.trainable_variables if id(v) not in own]
        decides = [] if self.target is None else [v for v in self.network.predictors if v.trainable]
        return (network if self.train_network else []) + decides

    def compile(self, optimizer: Any = "sgd", **kwargs: Any) -> None:
        """See the base class. The network is what ``distill`` learns from as it is now."""
        super().compile(optimizer, **kwargs)
        if self.teacher is not None:
            self.teacher.set_weights(self.network.get_weights())

    def call(self, x: Any, training: bool = False) -> tf.Tensor:
        """The network's logits."""
        return self.network.forward(x, scales=self.scales)[0]

    @property
    def scales(self) -> tf.Tensor | None:
        """1 for everything where there is no target; else what the predictors give."""
        return tf.ones([1, len(self.network.units)]) if self.target is None else None

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        truth = self.truth(x, y)
        weights = 1.0 if sample_weight is None else tf.cast(sample_weight, tf.float32)
        with tf.GradientTape() as tape:
            logits, predicted = self.network.forward(
                x, in_full, training=True, scales=self.scales, noise=self.noise(tf.shape(x)[0])
            )
            task = losses.cross_entropy(truth, logits, weights)
            on = runs(predicted)
            spent = mean_over_replicas(tf.reduce_mean(self.network.spent(on)))
            price = self.price(spent)
            loss = task + price * spent - self.balance * variety(on) + self.decay()
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
        return GAIN * too_much + self.price_rate * self.owed.assign_add(too_much)

    def goal(self) -> tf.Tensor:
        """The share of the MAdds that this step aims at."""
        if self.target is None:
            return tf.constant(1.0)
        return 1 - self.annealed() * (1 - self.target)

    def annealed(self) -> tf.Tensor:
        """The share of ``anneal`` that is over, in (0, 1]."""
        return tf.minimum((tf.cast(self.step, tf.float32) + 1) / (self.anneal + 1), 1.0)

    def noise(self, count: tf.Tensor) -> tf.Tensor | None:
        """Logistic noise for a batch of ``count`` images, (count, units); None where there is none."""
        if not self.temperature or self.target is None:
            return None
        units, seed = len(self.network.units), self.step_seed(0)
        uniform = rows_of_replica(
            lambda rows: tf.random.stateless_uniform([rows, units], seed, minval=1e-6, maxval=1 - 1e-6), count
        )
        return self.temperature * (1 - self.annealed()) * tf.math.log(uniform / (1 - uniform))

    def truth(self, x: Any, y: Any) -> tf.Tensor:
        """What the network learns, (batch, classes): smoothed labels, and the teacher's probabilities."""
        truth = losses.smooth_labels(y, self.network.num_classes, self.label_smoothing)
        if self.teacher is None:
            return truth
        logits = self.teacher.forward(x, in_full, scales=tf.ones([1, len(self.network.units)]))[0]
        return (1 - self.distill) * truth + self.distill * tf.nn.softmax(logits)

    def decay(self) -> tf.Tensor:
        """``weight_decay`` x half the squared norm of the kernels, without the predictors'."""
        if not self.train_network:
            return tf.constant(0.0)
        own = {id(v) for v in self.network.predictors}
        kernels = [v for v in self.network.trainable_variables if v.name == "kernel" and id(v) not in own]
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(kernel)) for kernel in kernels])


def runs(predicted: tf.Tensor) -> tf.Tensor:
    """1 where a unit runs and 0 where not; its gradient is that of what the predictor gave, as far as ``REACH``.

    Args:
        predicted: (batch, units) float32, not limited.

    Returns:
        The same shape.
    """
    near = tf.maximum(predicted, -REACH)
    return near + tf.stop_gradient(tf.cast(predicted > 0, tf.float32) - near)


def variety(on: tf.Tensor) -> tf.Tensor:
    """Mean over units of the entropy of their run rate, as a share of the largest there is.

    Args:
        on: (batch, units) float32, 1 where a unit runs and 0 where not.

    Returns:
        Scalar float32 in [0, 1]: 1 where every unit runs for half of the images; 0 without units.
    """
    if not on.shape[1]:
        return tf.constant(0.0)
    rate = mean_over_replicas(tf.reduce_mean(on, axis=0))
    rate = rate + tf.stop_gradient(tf.clip_by_value(rate, RARE, 1 - RARE) - rate)  # clipping keeps its gradient
    entropy = -rate * tf.math.log(rate) - (1 - rate) * tf.math.log(1 - rate)
    return tf.reduce_mean(entropy) / math.log(2.0)
