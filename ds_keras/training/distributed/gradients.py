"""Gradients that every replica knows whole, where an optimizer looks at them before it sums them over replicas."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import replicas, sum_over_replicas


def apply(
    optimizer: Any, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable], updates: bool | None = None
) -> None:
    """Moves variables by gradients of this replica's share of the loss (``Trainer.share``), summed over replicas.

    Args:
        optimizer: Keras optimizer, built.
        gradients: of this replica.
        variables: that they belong to.
        updates: of an optimizer that accumulates gradients on several replicas: whether this step moves the variables,
            or only adds its gradients. Keras decides so within a condition, where replicas cannot meet; so whoever runs
            the step decides.

    Raises:
        ValueError: the optimizer accumulates gradients on several replicas, and nobody decided, or it scales the loss.
    """
    every = accumulation_steps(optimizer)
    if replicas() == 1 or not every:
        optimizer.apply(same_on_all_replicas(optimizer, gradients), variables)
        return
    if hasattr(optimizer, "inner_optimizer"):
        raise ValueError(
            f"optimizer.gradient_accumulation_steps must be None with mixed_float16 on {replicas()} replicas, "
            f"received {every}"
        )
    if updates is None:
        raise ValueError(
            f"optimizer.gradient_accumulation_steps must be None in trainer.fit on {replicas()} replicas, received "
            f"{every}: call ds_keras.training.distributed.fit(trainer, batches, steps)"
        )
    total = sum_over_replicas(list(gradients))  # in each step, so that every replica, and a checkpoint, has all
    sums = [optimizer._accumulated_gradients[optimizer._get_variable_index(variable)] for variable in variables]
    if updates:
        means = [(gradient + former) / every for gradient, former in zip(total, sums, strict=True)]
        optimizer._apply_weight_decay(variables)
        parts = [gradient / replicas() for gradient in _clipped(means, 1.0, *_clips(optimizer))]
        optimizer._backend_update_step(parts, variables, optimizer.learning_rate)
        optimizer._backend_reset_gradient_accumulators()
    else:
        for former, gradient in zip(sums, total, strict=True):
            former.assign_add(gradient)
    optimizer._iterations.assign_add(1)


def accumulation_steps(optimizer: Any) -> int | None:
    """Over how many steps an optimizer adds up gradients; None for one that does not."""
    return getattr(getattr(optimizer, "inner_optimizer", optimizer), "gradient_accumulation_steps", None)


def same_on_all_replicas(optimizer: Any, gradients: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """Gradients of which ``optimizer.apply`` makes the right step on several replicas.

    Keras' optimizers clip, and look for what is not finite, before they sum over replicas: each replica would do so by
    its part alone. Where the optimizer does either, the sum is made here, clipped, and divided by the number of
    replicas; the optimizer then finds nothing to clip, and its own sum restores the size.

    Args:
        optimizer: Keras optimizer.
        gradients: of this replica's share of the loss.

    Returns:
        The gradients for ``optimizer.apply``; with one replica the same ones.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    clips = _clips(inner)
    if replicas() == 1 or (inner is optimizer and clips == [None] * 3):
        return gradients
    total = sum_over_replicas(list(gradients))
    return [gradient / replicas() for gradient in _clipped(total, optimizer.scale_loss(1.0), *clips)]


def _clips(optimizer: Any) -> list[float | None]:
    """The bounds of an optimizer, as ``_clipped`` takes them."""
    return [getattr(optimizer, name, None) for name in ("clipnorm", "global_clipnorm", "clipvalue")]


def _clipped(
    gradients: list[tf.Tensor], scale: Any, norm: float | None, global_norm: float | None, value: float | None
) -> list[tf.Tensor]:
    """Gradients as Keras clips them, by the first bound that is set; they are ``scale`` times too large."""
    if norm is not None:
        return [tf.clip_by_norm(gradient, norm * scale) for gradient in gradients]
    if global_norm is not None:
        return tf.clip_by_global_norm(gradients, global_norm * scale)[0]
    if value is not None:
        return [tf.clip_by_value(gradient, -value * scale, value * scale) for gradient in gradients]
    return gradients
