"""Every level's logits of a batch in TensorFlow, from one traced body; and policies replayed on them, in the graph."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ds_keras.core.levels import LevelTensor
from ds_keras.core.visitor import Compute
from ds_keras.policies.base import GatePolicy, PolicyName, Routed, RoutingSpec, SequentialPolicy
from ds_keras.policies.registry import check_policy, find
from ds_keras.routing.batch import margin
from ds_keras.routing.execute import own_settings, routing_spec

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


@dataclass(frozen=True)
class Recorded:
    """What every level and the gate say about a batch.

    Args:
        logits_by_level: (batch, levels, classes) float32.
        gate_logits: (batch, levels), without the budget shift.
    """

    logits_by_level: tf.Tensor
    gate_logits: tf.Tensor

    def __len__(self) -> int:
        return len(self.gate_logits)


def logits_by_level(model: "Supernet", features: Any, unrolled: bool = False) -> tf.Tensor:
    """The logits of every level, without gradients.

    The levels run one after another in a loop: the body is traced once, however many there are, and one level's
    activations are in memory at a time; the largest first, so that the others fit where those were.

    Args:
        model: supernet.
        features: of the shared start, a tensor or a structure of them.
        unrolled: traces a body for each level, whose shapes are then known before it runs, as XLA needs them.

    Returns:
        (batch, levels, classes) float32.
    """
    count = len(model.levels)

    def logits(level: Any) -> tf.Tensor:
        return tf.cast(model.body(Compute(level), features), tf.float32)

    if unrolled:
        return tf.stop_gradient(tf.stack([logits(level) for level in range(count)], axis=1))
    by_level = tf.map_fn(
        lambda level: logits(LevelTensor(level, count)),
        tf.range(count - 1, -1, -1),
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec([None, model.num_classes], tf.float32),
    )
    return tf.stop_gradient(tf.transpose(by_level[::-1], [1, 0, 2]))


def replay(model: "Supernet", recorded: Recorded, policy: PolicyName) -> Routed:
    """What ``routing.run`` gives for the batch, to rounding, without running the network again.

    Args:
        model: supernet.
        recorded: of the batch.
        policy: "gate", "cascade" or a level, at the model's own settings.

    Returns:
        ``Routed`` of tensors.
    """
    found, settings = find(check_policy(policy, len(model.levels)), routing_spec(model)), own_settings(model, policy)
    settings = None if settings is None else tf.convert_to_tensor(settings, tf.float32)
    return found.run(_Replayed(found.spec), recorded, settings)


class _Replayed:
    """An ``Executor`` that runs no network.

    Args:
        spec: of the model.
    """

    def __init__(self, spec: RoutingSpec):
        self.spec = spec
        self.bodies = tf.constant([float(body) for body in spec.bodies], tf.float32)

    def at(self, images: Recorded, levels: Any, paid: float = 0.0) -> Routed:
        """See ``Executor``."""
        levels = tf.broadcast_to(tf.cast(levels, tf.int32), tf.shape(images.gate_logits)[:1])
        madds = float(self.spec.start) + paid + tf.gather(self.bodies, levels)
        return Routed(_logits(images, levels), levels, madds)

    def by_gate(self, images: Recorded, policy: GatePolicy, settings: Any) -> Routed:
        """See ``Executor``."""
        scores = policy.scores(tf.cast(images.gate_logits, tf.float32), settings)
        return self.at(images, tf.argmax(scores, axis=1, output_type=tf.int32), float(self.spec.gate))

    def in_turn(self, images: Recorded, policy: SequentialPolicy, settings: Any) -> Routed:
        """See ``Executor``."""
        routed, going = self.at(images, policy.order[0]), True
        levels, madds = routed.levels, routed.madds
        for step, (level, following) in enumerate(zip(policy.order, policy.order[1:], strict=False)):
            going &= policy.continues(margin(images.logits_by_level[:, level]), step, settings)
            levels = tf.where(going, following, levels)
            madds += tf.where(going, self.bodies[following], 0.0)
        return Routed(_logits(images, levels), levels, madds)


def _logits(images: Recorded, levels: tf.Tensor) -> tf.Tensor:
    """The logits of each image at its level."""
    return tf.gather(images.logits_by_level, levels, axis=1, batch_dims=1)
