"""Stage II: trains the gate's slimming branch on a frozen supernet."""

from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import mean_over_replicas
from ds_keras.core.visitor import Compute
from ds_keras.models.supernet import Supernet
from ds_keras.routing.recorded import logits_by_level
from ds_keras.training import arguments, losses
from ds_keras.training.base import LevelTrainer, accuracy, means

CHECKS = {
    "temperature": arguments.POSITIVE,
    "sandwich_weight": arguments.NOT_NEGATIVE,
    "task_weight": arguments.NOT_NEGATIVE,
    "budget_weight": arguments.NOT_NEGATIVE,
}
FEW = 4  # levels whose bodies are traced one by one: known shapes let TensorFlow fuse operations, a quarter faster


class GateTrainer(LevelTrainer):
    """Stage II: sandwich gate sparsification, the task loss through a sampled level, and a budget.

    loss = sandwich_weight x CE(gate logits, level 0 where the image is easy, else the last level)
         + task_weight x CE(logits of the sampled level, label)
         + budget_weight x |E[MAdds] - target|, in fractions of the largest level's MAdds.
    An image is easy where the smallest level is right.
    The level is sampled by straight-through Gumbel softmax; every level's logits are computed without gradients, so
    a step needs no backward pass through the network. Only the slimming branch moves.

    Most images are easy, so the sandwich targets alone drive the argmax to level 0. The two targets are therefore
    weighted to equal mass (by a running share), and the budget shift (``routing.measure_budget``, ``model.set_budget``)
    sets the mix afterwards; ``fit`` reports the argmax mix of the validation images as ``gate_mix{k}``.

    Train on images or views that the supernet was not fit to: a held-out part, or freshly augmented views. Labels
    made on the very training images are over-optimistic about level 0.

    Args:
        model: supernet after Stage I, with calibrated statistics; only its slimming branch is trained.
        target: average MAdds to aim at, as a fraction of the largest level's; None for no budget term.
        sandwich_weight: see above.
        task_weight: see above.
        budget_weight: see above.
        temperature: of the Gumbel softmax.
        seed: of the Gumbel noise.
        **kwargs: of ``keras.Model``.

    Raises:
        ValueError: bad arguments.

    Source: DS-Net, arXiv 2103.13258, section 3.4 (its budget term is (MAdds / 1e9)^2; |E[MAdds] - target| and the
    balancing are ours).

    Example:
        >>> trainer = GateTrainer(model, target=0.5)
        >>> trainer.compile(keras.optimizers.Adam(1e-3))
        >>> trainer.fit(views, validation_data=held_out, epochs=10)
    """

    def __init__(
        self,
        model: Supernet,
        target: float | None = 0.5,
        sandwich_weight: float = 1.0,
        task_weight: float = 1.0,
        budget_weight: float = 1.0,
        temperature: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(model, seed, **kwargs)
        arguments.check_arguments(CHECKS, locals())
        start, gate, body = model.costs[-1]
        self.relative_costs = [(start + gate + part.body) / (start + body) for part in model.costs]
        if target is not None and not self.relative_costs[0] <= target <= self.relative_costs[-1]:
            raise ValueError(
                f"target must be None, or lie between the relative costs {self.relative_costs[0]:.3f} of the smallest "
                f"and {self.relative_costs[-1]:.3f} of the largest level; received {target!r}"
            )
        self.target, self.temperature = target, temperature
        self.sandwich_weight, self.task_weight, self.budget_weight = sandwich_weight, task_weight, budget_weight
        self.easy_share = self.add_weight(
            name="easy_share", shape=(), initializer=keras.initializers.Constant(0.5), trainable=False
        )
        self.progress = means("sandwich_loss", "task_loss", "sampled_fraction", "sampled_accuracy", "easy_share")

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """The slimming branch."""
        return self.supernet.gate_variables

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step of the slimming branch."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            raise ValueError("sample_weight and class_weight are Stage I's: the gate learns which images are easy")
        truth = losses.smooth_labels(y, self.supernet.num_classes, 0.0)
        every, gate_features = self.frozen(x)
        easy = accuracy(y, every[:, 0])
        share = self.running_share(easy)
        with tf.GradientTape() as tape:
            gate = tf.cast(self.supernet.gate(Compute(0), gate_features), tf.float32)
            sampled = losses.gumbel_one_hot(gate, self.step_seed(1), self.temperature)
            output = tf.einsum("bl,blc->bc", sampled, every)
            costs = tf.reduce_sum(sampled * tf.constant(self.relative_costs, tf.float32), axis=1)
            spent = mean_over_replicas(tf.reduce_mean(costs))
            sandwich = losses.sandwich(easy, gate, share)
            task = losses.cross_entropy(truth, output)
            loss = self.sandwich_weight * sandwich + self.task_weight * task
            if self.target is not None:
                loss += self.budget_weight * tf.abs(spent - self.target)
            scaled = self.share(self.check_finite(loss, "gate"))
        self.update(tape.gradient(scaled, self.trained_variables), self.trained_variables)
        return self.report((sandwich, task, spent, accuracy(y, output), easy))

    def frozen(self, x: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """What the frozen supernet gives for a batch.

        Args:
            x: (batch, height, width, channels) images in [0, 255].

        Returns:
            (batch, levels, classes) float32 logits of every level, and what the gate reads; without gradients.
        """
        features, gate_features = self.supernet.start(Compute(0), self.supernet.check_images(x))
        unrolled = bool(self.jit_compile) or len(self.supernet.levels) <= FEW
        every = logits_by_level(self.supernet, features, unrolled)
        return every, tf.stop_gradient(gate_features)

    def running_share(self, easy: tf.Tensor) -> tf.Tensor:
        """The share of easy images over the last steps."""
        easy_now = mean_over_replicas(tf.reduce_mean(easy))
        self.easy_share.assign_add(0.05 * (easy_now - self.easy_share))
        return tf.convert_to_tensor(self.easy_share)
