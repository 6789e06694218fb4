"""tf_keras and tfmot, imported without a trace in a process that uses Keras 3."""

import os
import warnings
from typing import Any

import tensorflow as tf

VARIABLE = "TF_USE_LEGACY_KERAS"


def libraries() -> tuple[Any, Any]:
    """Imports ``tf_keras`` and ``tensorflow_model_optimization``.

    tfmot sets ``TF_USE_LEGACY_KERAS``, which child processes inherit, and which decides what ``tf.keras`` is where
    nobody has used it yet. So ``tf.keras`` is resolved first and the variable put back, also to not being set.

    Returns:
        Both modules.

    Raises:
        ImportError: one of them is missing.
    """
    before = os.environ.get(VARIABLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # tfmot compares versions with distutils
            getattr(tf.keras, "layers")  # noqa: B009 (the attribute access is what resolves tf.keras)
            import tensorflow_model_optimization as tfmot
            import tf_keras
    except ImportError as error:
        raise ImportError(
            f"compressing a level needs tf_keras and tensorflow-model-optimization ({error}): "
            "pip install 'ds_keras[compress]'"
        ) from error
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
    return tf_keras, tfmot
