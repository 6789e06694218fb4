"""Gradients that every replica knows whole, where an optimizer looks at them before it sums them over replicas."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ds_keras.core.backend import replicas, sum_over_replicas


def same_on_all_replicas(optimizer: Any, gradients: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """Gradients of which ``optimizer.apply`` makes the right step on several replicas.

    Keras' optimizers clip, and look for what is not finite, before they sum over replicas: each replica would do so by
    its part alone. Where the optimizer does either, the sum is made here, clipped, and divided by the number of
    replicas; the optimizer then finds nothing to clip, and its own sum restores the size.

    Args:
        optimizer: Keras optimizer.
        gradients: of this replica's share of the loss (``Trainer.share``).

    Returns:
        The gradients for ``optimizer.apply``; with one replica the same ones.

    Raises:
        ValueError: the optimizer accumulates gradients: Keras does so within a condition, where replicas cannot meet.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    clips = [getattr(inner, name, None) for name in ("clipnorm", "global_clipnorm", "clipvalue")]
    if replicas() == 1:
        return gradients
    if getattr(inner, "gradient_accumulation_steps", None):
        raise ValueError(
            f"optimizer.gradient_accumulation_steps must be None on {replicas()} replicas, received "
            f"{inner.gradient_accumulation_steps}: Keras adds them up within a condition, where replicas cannot meet"
        )
    if inner is optimizer and clips == [None] * 3:
        return gradients
    total = sum_over_replicas(list(gradients))
    return [gradient / replicas() for gradient in _clipped(total, optimizer.scale_loss(1.0), *clips)]


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
