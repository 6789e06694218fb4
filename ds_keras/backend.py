"""Checks once that Keras runs on TensorFlow: kernels are sliced with ``tf.slice``."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"ds_keras needs the TensorFlow backend of Keras, but the backend is {keras.backend.backend()!r}. "
        "Set KERAS_BACKEND=tensorflow (or 'backend' in ~/.keras/keras.json) before Python starts."
    )
