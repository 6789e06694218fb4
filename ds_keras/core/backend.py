"""What Keras runs on: TensorFlow (checked once: kernels are sliced with ``tf.slice``), policy, replicas, bounds."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"ds_keras needs the TensorFlow backend of Keras, but the backend is {keras.backend.backend()!r}. "
        "Set KERAS_BACKEND=tensorflow (or 'backend' in ~/.keras/keras.json) before Python starts."
    )


@contextlib.contextmanager
def dtype_policy(policy: Any) -> Iterator[None]:
    """Keras' dtype policy for what is made within; the former one is put back.

    Args:
        policy: as ``keras.config.set_dtype_policy`` takes it.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass
class _Left:
    layers: int
    weights: int
    source: str


_left: contextvars.ContextVar[_Left | None] = contextvars.ContextVar("_left", default=None)


@contextlib.contextmanager
def at_most(layers: int, weights: int, source: str) -> Iterator[None]:
    """Bounds the networks that are made within: a config of others may ask for more than any memory holds.

    Args:
        layers: sliceable layers and blocks of them.
        weights: numbers in all kernels.
        source: file that holds them, for the error.
    """
    token = _left.set(_Left(layers, weights, source))
    try:
        yield
    finally:
        _left.reset(token)


def spend(layers: int = 0, weights: int = 0) -> None:
    """What is about to be made counts against ``at_most``.

    Raises:
        ValueError: it would be too much.
    """
    left = _left.get()
    if left is None:
        return
    left.layers, left.weights = left.layers - layers, left.weights - weights
    if min(left.layers, left.weights) < 0:
        raise ValueError(f"it describes a larger network than {left.source} has weights of")


def float32_variables() -> contextlib.AbstractContextManager[None]:
    """The dtype policy that is set, or "float32" instead of one whose variables are no float32: for trained weights."""
    policy = keras.config.dtype_policy()
    return dtype_policy(policy if policy.variable_dtype == "float32" else "float32")


def replicas() -> int:
    """How many replicas of a ``tf.distribute`` strategy run the code that asks; 1 outside of ``strategy.run``."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def sum_over_replicas(value: Any) -> Any:
    """The sum over all replicas; gradients flow through it.

    Args:
        value: tensor, or a nest of tensors, of the same shapes on every replica.

    Returns:
        The same structure; with one replica the value itself.
    """
    return tf.distribute.get_replica_context().all_reduce("SUM", value) if replicas() > 1 else value


def mean_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The mean over all replicas; see ``sum_over_replicas``."""
    return sum_over_replicas(value) / replicas() if replicas() > 1 else value


def rows_of_replica(draw: Callable[[Any], tf.Tensor], rows: Any) -> tf.Tensor:
    """What is drawn for this replica's part of a batch: the same numbers, however many replicas share the batch.

    Args:
        draw: f(count) -> (count, ...) random numbers for so many rows.
        rows: of this replica.

    Returns:
        (rows, ...): this replica's part of what is drawn for the whole batch.
    """
    if replicas() == 1:
        return draw(rows)
    first = rows * tf.distribute.get_replica_context().replica_id_in_sync_group
    return draw(rows * replicas())[first : first + rows]
