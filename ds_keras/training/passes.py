"""The passes of a Stage I step: what each runs on, what it gives, and sums of gradients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ds_keras.core.visitor import Compute, Shapes
from ds_keras.models.supernet import Supernet
from ds_keras.training.folded import Folded


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


class PassSettings:
    """Frozen start, kept statistics, and each level's share of a batch: see ``SupernetTrainer``.

    Args:
        supernet: that is trained.
        kind: the visitor of a pass with batch statistics.
        frozen_start: whether the shared start stays as it is, statistics included.
        fixed_statistics: levels (ints) that keep their statistics.
        shares: for each level, the share of a batch that its pass sees, in (0, 1]; None for all of it.
        num_random: of the trainer: levels that are drawn have no kept statistics and no share of their own.

    Raises:
        ValueError: bad arguments.
    """

    def __init__(
        self,
        supernet: Supernet,
        kind: type[Compute],
        frozen_start: bool,
        fixed_statistics: Sequence[int],
        shares: Sequence[float] | None,
        num_random: int | None,
    ):
        self.supernet, self.kind, self.frozen_start = supernet, kind, bool(frozen_start)
        self.fixed = frozenset(supernet.static_level(level) for level in fixed_statistics)
        count = len(supernet.levels)
        if (self.fixed or shares is not None) and num_random is not None:
            raise ValueError(
                f"fixed_statistics and shares need every level in each step: num_random=None, received {num_random!r}"
            )
        if (self.fixed or self.frozen_start) and kind is not Compute:
            raise ValueError("frozen_start and fixed_statistics train float networks: quantize must be None")
        if (self.fixed or self.frozen_start) and supernet.teacher_level.index >= count:
            raise ValueError("frozen_start and fixed_statistics need a largest level that is deployed")
        shares = [1.0] * count if shares is None else [float(share) for share in shares]
        if len(shares) != count or not all(0 < share <= 1 for share in shares) or shares[0] != 1:
            raise ValueError(f"shares must list a share in (0, 1] for each of {count} levels, 1 first; got {shares!r}")
        self.shares = shares

    @property
    def start_moves(self) -> bool:
        """Whether the shared start is trained."""
        return not self.frozen_start

    def body(self, level: Any, dropout: tf.Tensor | None = None) -> Compute:
        """The visitor of a level's body."""
        if isinstance(level, int) and level in self.fixed:
            return Folded(level, dropout=dropout)
        return self.kind(level, training=True, dropout=dropout)

    def start(self, level: int) -> Compute:
        """The visitor of the shared start."""
        return Folded(level) if self.frozen_start else self.kind(level, training=True)

    def part_of_batch(self, level: Any, *values: Any) -> tuple:
        """The first images of a batch, as many as a level sees, in everything that has a row for each image.

        Args:
            level: slice level.
            *values: (batch, ...) tensors; numbers are given back as they are.

        Returns:
            The values, cut.
        """
        share = self.shares[level] if isinstance(level, int) and level < len(self.shares) else 1.0
        if share == 1:
            return values
        batch = tf.cast(tf.shape(values[0])[0], tf.float32)
        count = tf.cast(tf.math.ceil(share * batch), tf.int32)
        return tuple(value[:count] if tf.is_tensor(value) else value for value in values)

    def frozen(self) -> set[int]:
        """The ids of the variables that stay as they are."""
        if not self.frozen_start:
            return set()
        visitor = _Seen(0)
        self.supernet.start(visitor, self.supernet.input_shape)
        return {id(variable) for layer in visitor.layers for variable in layer.trainable_variables}

    def calibrated(self) -> list[int] | None:
        """The levels whose statistics have to be measured after training; None for all, the teacher's too."""
        if not self.fixed:
            return None
        return [level.index for level in self.supernet.levels if level.index not in self.fixed]


class _Seen(Shapes):
    def __init__(self, level: int):
        super().__init__(level)
        self.layers: list[keras.layers.Layer] = []

    def visit(self, layer: keras.layers.Layer, shape: Any) -> None:
        self.layers.append(layer)
