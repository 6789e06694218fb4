"""What a pass at one level gives within a Stage I step, and sums of gradients."""

from typing import NamedTuple

import tensorflow as tf


class Pass(NamedTuple):
    """What one sub-network gave in a step.

    Args:
        logits: (batch, classes), without gradient.
        loss: scalar, without weight decay.
        to_features: gradient to the shared start's features; None where the pass has a start of its own.
        to_variables: gradient to every trained variable; None to those that the level does not use.
    """

    logits: tf.Tensor
    loss: tf.Tensor
    to_features: tf.Tensor | None
    to_variables: list[tf.Tensor | None]

    @property
    def gradients(self) -> list[tf.Tensor]:
        """All gradients that there are."""
        return [gradient for gradient in (self.to_features, *self.to_variables) if gradient is not None]


def add_gradients(first: list, second: list) -> list:
    """The sums of two lists of gradients, of which each may hold None where a variable has none."""
    return [b if a is None else a if b is None else a + b for a, b in zip(first, second, strict=True)]
