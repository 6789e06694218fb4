"""Checks once that Keras runs on TensorFlow: kernels are sliced with ``tf.slice``. And its dtype policy."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

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


def float32_variables() -> contextlib.AbstractContextManager[None]:
    """The dtype policy that is set, or "float32" instead of one whose variables are no float32: for trained weights."""
    policy = keras.config.dtype_policy()
    return dtype_policy(policy if policy.variable_dtype == "float32" else "float32")
