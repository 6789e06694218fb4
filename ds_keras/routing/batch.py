"""Runs one batch of images in TensorFlow: a bucket for each level, so that the network really slices.

The shared start runs once, then each bucket of images densely at its level. Costs count all that ran.
"""

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from ds_keras.core.visitor import Compute
from ds_keras.policies.base import GatePolicy, Routed, RoutingSpec, SequentialPolicy

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


class Batch:
    """Runs one batch of images in TensorFlow: an ``Executor`` whose results are ``Routed``.

    Args:
        model: supernet.
        spec: of the model.
    """

    def __init__(self, model: "Supernet", spec: RoutingSpec):
        self.model, self.spec = model, spec
        self.bodies = tf.constant([float(body) for body in spec.bodies], tf.float32)

    def at(self, images: tf.Tensor, levels: Any) -> Routed:
        """See ``Executor``."""
        features, _ = self.model.start(Compute(0), images)
        levels = tf.fill(tf.shape(images)[:1], levels) if isinstance(levels, int) else levels
        return self._at(features, levels, float(self.spec.start))

    def by_gate(self, images: tf.Tensor, policy: GatePolicy, settings: Any) -> Routed:
        """See ``Executor``."""
        features, gate_features = self.model.start(Compute(0), images)
        logits = tf.cast(self.model.gate(Compute(0), gate_features), tf.float32)
        levels = tf.argmax(policy.scores(logits, settings), axis=1, output_type=tf.int32)
        return self._at(features, levels, float(self.spec.start) + float(self.spec.gate))

    def in_turn(self, images: tf.Tensor, policy: SequentialPolicy, settings: Any) -> Routed:
        """See ``Executor``."""
        features, _ = self.model.start(Compute(0), images)
        routed = self._step(features, policy, settings, 0)
        return routed._replace(madds=float(self.spec.start) + routed.madds)

    def _at(self, features: Any, levels: tf.Tensor, paid: float) -> Routed:
        madds = paid + tf.gather(self.bodies, levels)
        return Routed(run_levels(self.model, features, levels), levels, madds)

    def _step(self, features: Any, policy: SequentialPolicy, settings: Any, step: int) -> Routed:
        """Runs one level; the images that are not done go on to the next."""
        level, size = policy.order[step], tf.shape(tf.nest.flatten(features)[0])[0]
        if step == 0:
            logits = tf.cast(self.model.body(Compute(level), features), tf.float32)
        else:
            logits = _body(self.model, features, level, size)
        own = Routed(logits, tf.fill([size], level), tf.fill([size], self.bodies[level]))
        if step + 1 == len(policy.order):
            return own
        unsure = tf.cast(policy.continues(margin(logits), step, settings), tf.int32)
        order = tf.dynamic_partition(tf.range(size), unsure, 2)
        again = tf.nest.map_structure(lambda part: tf.dynamic_partition(part, unsure, 2)[1], features)
        more = self._step(again, policy, settings, step + 1)
        more = more._replace(madds=self.bodies[level] + more.madds)
        stay = [tf.dynamic_partition(part, unsure, 2)[0] for part in own]
        logits, levels, madds = (tf.dynamic_stitch(order, pair) for pair in zip(stay, more, strict=True))
        return Routed(tf.ensure_shape(logits, [None, self.model.num_classes]), levels, madds)


def run_levels(model: "Supernet", features: Any, levels: tf.Tensor) -> tf.Tensor:
    """Runs the body on each bucket of images that share a level, and puts the logits back in order.

    Args:
        model: supernet.
        features: shared start's output, a tensor or a structure of them.
        levels: (batch,) int32.

    Returns:
        (batch, classes) float32.
    """
    count = len(model.levels)
    order = tf.dynamic_partition(tf.range(tf.shape(levels)[0]), levels, count)
    parts = [tf.dynamic_partition(part, levels, count) for part in tf.nest.flatten(features)]
    outputs = []
    for level in range(count):
        bucket = tf.nest.pack_sequence_as(features, [part[level] for part in parts])
        outputs.append(_body(model, bucket, level, tf.shape(order[level])[0]))
    return tf.ensure_shape(tf.dynamic_stitch(order, outputs), [None, model.num_classes])


def _body(model: "Supernet", bucket: Any, level: int, size: tf.Tensor) -> tf.Tensor:
    """The body's logits; an empty bucket costs nothing."""
    return tf.cond(
        size > 0,
        lambda: tf.cast(model.body(Compute(level), bucket), tf.float32),
        lambda: tf.zeros([0, model.num_classes]),
    )


def margin(logits: tf.Tensor) -> tf.Tensor:
    """``policies.margin`` of (batch, classes) logits, for graphs: (batch,) float32.

    It is written twice, since a graph that is saved or differentiated cannot call numpy.
    """
    best = tf.math.top_k(tf.nn.softmax(logits), 2).values
    return best[:, 0] - best[:, 1]
