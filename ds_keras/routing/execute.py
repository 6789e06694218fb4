"""Routing: which level each image runs at, batches that really slice, and budgets.

Every policy runs the shared start once, then each bucket of images densely at its level. Costs count all that ran.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ds_keras.core.visitor import Compute
from ds_keras.policies.base import LEARNED, POLICIES, Policy, Routed, check_belongs, check_policy, draw_levels

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def shifted(model: "Supernet", gate_logits: tf.Tensor, knobs: Any = None) -> tf.Tensor:
    """Gate logits less the shift x relative cost: a larger shift sends more images to small levels.

    Args:
        model: supernet.
        gate_logits: (batch, levels).
        knobs: (1,) the shift; default the model's ``gate_shift``.

    Returns:
        (batch, levels) float32.
    """
    knobs = tf.convert_to_tensor(model.gate_shift if knobs is None else knobs, tf.float32)
    return tf.cast(gate_logits, tf.float32) - knobs * tf.constant(relative_costs(model), tf.float32)


def run(model: "Supernet", x: tf.Tensor, policy: Policy, knobs: Any = None, levels: Any = None) -> Routed:
    """Routes one batch, in a graph or eagerly.

    Args:
        model: supernet.
        x: (batch, height, width, channels) images in [0, 255].
        policy: "gate", "cascade", or a level.
        knobs: (1,) the gate's shift, or (steps,) the cascade's thresholds; default the model's own.
        levels: (batch,) int32 levels to run at, instead of the policy's.

    Returns:
        ``Routed`` of tensors.

    Raises:
        ValueError: unknown policy.
    """
    model.build()
    policy = check_policy(policy, len(model.levels))
    features, gate_features = model.start(Compute(0), x)
    start, gate, _ = model.costs[0]
    bodies = tf.constant([float(part.body) for part in model.costs], tf.float32)
    if levels is None and policy == "cascade":
        thresholds = tf.convert_to_tensor(model.cascade_thresholds if knobs is None else knobs, tf.float32)
        routed = _cascade(model, features, thresholds, bodies)
        return routed._replace(madds=float(start) + routed.madds)
    paid = float(start)
    if levels is None and policy == "gate":
        logits = shifted(model, model.gate(Compute(0), gate_features), knobs)
        levels = tf.argmax(logits, axis=1, output_type=tf.int32)
        paid += float(gate)
    elif levels is None:
        levels = tf.fill(tf.shape(x)[:1], policy)
    return Routed(run_levels(model, features, levels), levels, paid + tf.gather(bodies, levels))


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


def _cascade(model: "Supernet", features: Any, thresholds: tf.Tensor, bodies: tf.Tensor, step: int = 0) -> Routed:
    """Runs one level of the chain; what it is not sure of goes on to the next."""
    level, size = model.cascade[step], tf.shape(tf.nest.flatten(features)[0])[0]
    if step == 0:
        logits = tf.cast(model.body(Compute(level), features), tf.float32)
    else:
        logits = _body(model, features, level, size)
    own = Routed(logits, tf.fill([size], level), tf.fill([size], bodies[level]))
    if step + 1 == len(model.cascade):
        return own
    unsure = tf.cast(margin(logits) < thresholds[step], tf.int32)
    order = tf.dynamic_partition(tf.range(size), unsure, 2)
    again = tf.nest.map_structure(lambda part: tf.dynamic_partition(part, unsure, 2)[1], features)
    more = _cascade(model, again, thresholds, bodies, step + 1)
    more = more._replace(madds=bodies[level] + more.madds)
    stay = [tf.dynamic_partition(part, unsure, 2)[0] for part in own]
    logits, levels, madds = (tf.dynamic_stitch(order, pair) for pair in zip(stay, more, strict=True))
    return Routed(tf.ensure_shape(logits, [None, model.num_classes]), levels, madds)


def margin(logits: tf.Tensor) -> tf.Tensor:
    """``policies.margin`` of (batch, classes) logits, in TensorFlow: (batch,) float32."""
    best = tf.math.top_k(tf.nn.softmax(logits), 2).values
    return best[:, 0] - best[:, 1]


def predict_routed(
    model: "Supernet",
    x: Any,
    policy: Policy | None = None,
    knobs: Any = None,
    labels: Any = None,
    mix: Any = None,
    seed: int | None = None,
    batch_size: int = 256,
) -> Routed:
    """Routes and runs a set of images.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        policy: "gate", "cascade", "random", "oracle" or a level; default the model's ``default_policy``.
        knobs: (1,) the gate's shift, or (steps,) the cascade's thresholds, for this call only; default the model's own.
        labels: (count,) integer classes, for "oracle".
        mix: (levels,) probabilities, for "random"; default equal.
        seed: of "random".
        batch_size: images at a time.

    Returns:
        ``Routed`` of numpy arrays.

    Raises:
        ValueError: unknown policy, or an argument that the policy needs or cannot use.

    Example:
        >>> routed = predict_routed(model, images, policy="cascade")
        >>> routed.madds.mean()
    """
    count = len(model.levels)
    policy = check_policy(model.default_policy if policy is None else policy, count, POLICIES)
    x = model.image_set(x, batch_size)
    check_belongs(policy, mix=mix, seed=seed, labels=labels, knobs=knobs)
    given = None
    if policy == "random":
        given = draw_levels(mix, count, len(x), seed)
    elif policy == "oracle":
        if labels is None or np.shape(labels) != (len(x),):
            raise ValueError(f"policy='oracle' needs labels of shape ({len(x)},), received {np.shape(labels)}")
        every = predict_levels(model, x, batch_size)
        given = oracle_levels(every, labels)
    if policy not in LEARNED and given is None:
        given = np.full(len(x), policy, "int32")
    if knobs is None:
        knobs = model.cascade_thresholds if policy == "cascade" else model.gate_shift
    elif np.shape(knobs) != (wanted := (len(model.cascade) - 1 if policy == "cascade" else 1,)):
        raise ValueError(f"knobs must have shape {wanted} for policy {policy!r}, received {knobs!r}")
    knobs = tf.convert_to_tensor(knobs, tf.float32)
    results = [Routed(np.zeros((0, model.num_classes), "float32"), np.zeros(0, "int32"), np.zeros(0, "float32"))]
    for i in range(0, len(x), batch_size):
        images = tf.convert_to_tensor(x[i : i + batch_size])
        if given is None:
            results.append(model.graphs["policy"](images, policy, knobs))
        else:
            results.append(model.graphs["levels"](images, tf.constant(given[i : i + batch_size])))
    return Routed(*(np.concatenate([np.asarray(part) for part in column]) for column in zip(*results, strict=True)))


def compile_runs(model: "Supernet") -> dict[str, Any]:
    """The graphs that ``predict_routed`` runs: traced once for each policy, for any batch size.

    Args:
        model: supernet.

    Returns:
        {"policy": f(x, policy, knobs), "levels": f(x, levels), "every": f(x) -> (levels, batch, classes)}.
    """

    def every(x: tf.Tensor) -> tf.Tensor:
        features, _ = model.start(Compute(0), x)
        return tf.stack(
            [tf.cast(model.body(Compute(level), features), tf.float32) for level in range(len(model.levels))]
        )

    functions = {
        "policy": lambda x, policy, knobs: run(model, x, policy, knobs=knobs),
        "levels": lambda x, levels: run(model, x, 0, levels=levels),
        "every": every,
        "gate": lambda x: model.gate(Compute(0), model.start(Compute(0), x)[1]),
    }
    return {name: tf.function(function, reduce_retracing=True) for name, function in functions.items()}


def predict_levels(model: "Supernet", x: Any, batch_size: int = 256) -> np.ndarray:
    """Logits of every level for a set of images; the shared start runs once.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        batch_size: images at a time.

    Returns:
        (levels, count, classes) float32.
    """
    empty = np.zeros((len(model.levels), 0, model.num_classes), "float32")
    return _batched(model, "every", x, batch_size, empty, axis=1)


def gate_logits(model: "Supernet", x: Any, batch_size: int = 256) -> np.ndarray:
    """The gate's logits without the budget shift. Arguments as ``predict_levels``; returns (count, levels)."""
    return _batched(model, "gate", x, batch_size, np.zeros((0, len(model.levels)), "float32"), axis=0)


def _batched(model: "Supernet", name: str, x: Any, batch_size: int, empty: np.ndarray, axis: int) -> np.ndarray:
    x = model.image_set(x, batch_size)
    parts = [model.graphs[name](tf.convert_to_tensor(x[i : i + batch_size])) for i in range(0, len(x), batch_size)]
    return np.concatenate([empty, *parts], axis=axis)


def oracle_levels(every: np.ndarray, labels: Any) -> np.ndarray:
    """The cheapest right level of every image, else the smallest.

    Args:
        every: (levels, count, classes) logits.
        labels: (count,) integer classes.

    Returns:
        (count,) int32.
    """
    return np.argmax(every.argmax(-1) == np.asarray(labels), axis=0).astype("int32")


def relative_costs(model: "Supernet") -> np.ndarray:
    """Cost of every level's body as a fraction of the largest's: (levels,) float64."""
    bodies = np.array([part.body for part in model.costs], "float64")
    return bodies / bodies[-1]
