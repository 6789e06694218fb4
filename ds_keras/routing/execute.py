"""Runs policies in TensorFlow, on a batch or on a set of images: each image at the level that the policy picks."""

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from absl import logging

from ds_keras import moved
from ds_keras.core.timing import counted, foreseen
from ds_keras.core.visitor import Compute
from ds_keras.policies.base import PolicyName, Routed, RoutingSpec
from ds_keras.policies.gate import Gate
from ds_keras.policies.registry import check_belongs, check_policy, find, names, policy_class
from ds_keras.routing.batch import Batch
from ds_keras.routing.graph import BatchGraph

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

TRACING = 0.008  # seconds for a layer at a level, measured on four presets


def routing_spec(model: "Supernet") -> RoutingSpec:
    """What policies know of a model: the costs of its parts, and its cascade."""
    start, gate, _ = model.costs[0]
    return RoutingSpec(start, gate, tuple(part.body for part in model.costs), tuple(model.cascade))


def relative_costs(model: "Supernet") -> np.ndarray:
    """Cost of every level's body as a fraction of the largest's: (levels,) float64."""
    return routing_spec(model).relative


def shifted(model: "Supernet", gate_logits: tf.Tensor) -> tf.Tensor:
    """Gate logits less the model's shift x relative cost: a larger shift sends more images to small levels.

    Args:
        model: supernet.
        gate_logits: (batch, levels).

    Returns:
        (batch, levels) float32.
    """
    shift = tf.convert_to_tensor(model.gate_shift, tf.float32)
    return Gate(routing_spec(model)).scores(tf.cast(gate_logits, tf.float32), shift)


@moved.renamed(knobs="settings")
def run(model: "Supernet", x: tf.Tensor, policy: PolicyName, settings: Any = None, levels: Any = None) -> Routed:
    """Routes one batch, in a graph or eagerly.

    Args:
        model: supernet.
        x: (batch, height, width, channels) images in [0, 255].
        policy: one that needs the images alone, such as "gate" or "cascade", or a level.
        settings: (1,) the gate's shift, or (steps,) the cascade's thresholds; default the model's own.
        levels: (batch,) int32 levels to run at, instead of the policy's.

    Returns:
        ``Routed`` of tensors.

    Raises:
        ValueError: unknown policy.
    """
    model.build()
    found = find(check_policy(policy, len(model.levels)), routing_spec(model))
    batch = Batch(model, found.spec)
    if levels is not None:
        return batch.at(x, levels)
    if settings is None:
        settings = own_settings(model, policy)
    return found.run(batch, x, None if settings is None else tf.convert_to_tensor(settings, tf.float32))


def own_settings(model: "Supernet", policy: PolicyName) -> Any:
    """The model's variable with a policy's settings; None for a policy without."""
    weight = policy_class(policy).settings_weight
    return None if weight is None else getattr(model, weight)


@moved.renamed(knobs="settings")
def predict_routed(
    model: "Supernet",
    x: Any,
    policy: PolicyName | None = None,
    settings: Any = None,
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
        settings: (1,) the gate's shift, or (steps,) the cascade's thresholds, for this call only; default the model's
            own.
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
    policy = check_policy(model.default_policy if policy is None else policy, len(model.levels), names())
    x = model.image_set(x, batch_size)
    check_belongs(policy, settings=settings)
    found = find(policy, routing_spec(model), mix=mix, seed=seed, labels=labels)
    levels = found.assign(len(x), lambda: predict_levels(model, x, batch_size))
    if settings is None:
        settings = own_settings(model, policy)
    elif np.shape(settings) != (wanted := (found.num_settings(found.spec.cascade),)):
        raise ValueError(f"settings must have shape {wanted} for policy {policy!r}, received {settings!r}")
    settings = None if settings is None else tf.convert_to_tensor(settings, tf.float32)
    results = [Routed(np.zeros((0, model.num_classes), "float32"), np.zeros(0, "int32"), np.zeros(0, "float32"))]
    for i in range(0, len(x), batch_size):
        images = tf.convert_to_tensor(x[i : i + batch_size])
        if levels is None:
            results.append(model.graphs["policy"](images, policy, settings))
        else:
            results.append(model.graphs["levels"](images, tf.constant(levels[i : i + batch_size])))
    return Routed(*(np.concatenate([np.asarray(part) for part in column]) for column in zip(*results, strict=True)))


def compile_runs(model: "Supernet") -> dict[str, BatchGraph]:
    """The graphs that ``predict_routed`` runs: traced once for each policy, for any batch size, which takes seconds.

    Args:
        model: supernet.

    Returns:
        {"policy": f(x, policy, settings), "levels": f(x, levels), "logits_by_level": f(x) -> (levels, batch, classes),
        "gate": f(x) -> (batch, levels)}.
    """

    def at_levels(x: tf.Tensor, levels: tf.Tensor) -> Routed:
        _say_tracing(model, "of given levels", len(model.levels))
        return run(model, x, 0, levels=levels)

    def logits_by_level(x: tf.Tensor) -> tf.Tensor:
        _say_tracing(model, "of all levels", len(model.levels))
        features, _ = model.start(Compute(0), x)
        return tf.stack(
            [tf.cast(model.body(Compute(level), features), tf.float32) for level in range(len(model.levels))]
        )

    return {
        "policy": compile_policies(model),
        "levels": BatchGraph(at_levels, batched=2),
        "logits_by_level": BatchGraph(logits_by_level),
        "gate": BatchGraph(lambda x: model.gate(Compute(0), model.start(Compute(0), x)[1])),
    }


def compile_policies(model: "Supernet") -> BatchGraph:
    """The graph f(x, policy, settings) -> ``Routed``; it keeps the cascade that the model has when it is traced."""

    def by_policy(x: tf.Tensor, policy: PolicyName, settings: Any) -> Routed:
        found = find(policy, routing_spec(model))
        _say_tracing(model, f"of policy {policy!r}", len({*found.begins, *found.follows}))
        return run(model, x, policy, settings)

    return BatchGraph(by_policy)


def _say_tracing(model: "Supernet", what: str, levels: int) -> None:
    """Logs that a graph is traced. Called in the traced function, so that a run of the graph says nothing."""
    logging.info("%s: tracing the graph %s, once: %s", model.name, what, foreseen(model, levels, TRACING))


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
    return _batched(model, "logits_by_level", x, batch_size, empty, axis=1)


def gate_logits(model: "Supernet", x: Any, batch_size: int = 256) -> np.ndarray:
    """The gate's logits without the budget shift. Arguments as ``predict_levels``; returns (count, levels)."""
    return _batched(model, "gate", x, batch_size, np.zeros((0, len(model.levels)), "float32"), axis=0)


def _batched(model: "Supernet", name: str, x: Any, batch_size: int, empty: np.ndarray, axis: int) -> np.ndarray:
    x = model.image_set(x, batch_size)
    begins = counted(range(0, len(x), batch_size), f"{model.name}: {name.replace('_', ' ')}")
    parts = [model.graphs[name](tf.convert_to_tensor(x[i : i + batch_size])) for i in begins]
    return np.concatenate([empty, *parts], axis=axis)
