"""Converts plain networks to ONNX, and opens the files in ONNX Runtime."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17


def package(name: str) -> ModuleType:
    """A package of the ``onnx`` extra; an error that says what to install where it is missing."""
    try:
        return __import__(name, fromlist=[name])
    except ImportError as error:
        raise ImportError(f"exporting to ONNX needs {name}: pip install 'ds_keras[onnx]'") from error


def convert(network: keras.Model, batch: int | None = None, channels_first: bool = False) -> "ModelProto":
    """Converts a plain network to ONNX.

    Args:
        network: plain functional model of one input; one output, which becomes "logits", or a dict of them.
        batch: size of the batch axis, or None to leave it free.
        channels_first: the input or output "features", where it is an image, is (batch, channels, height, width).

    Returns:
        The model.

    Raises:
        ImportError: ``tf2onnx`` is missing.
    """
    tf2onnx, twin = package("tf2onnx.convert"), _batched(network)
    (x,) = network.inputs
    signature = [tf.TensorSpec((batch, *x.shape[1:]), tf.float32, name=x.name)]
    function = tf.function(lambda x: _named(twin(x, training=False)), input_signature=signature, autograph=False)
    order = {}
    if channels_first:
        order = {"inputs_as_nchw": _images({x.name: x}), "outputs_as_nchw": _images(_named(network.output))}
    with _quiet():
        model, _ = tf2onnx.from_function(function, signature, opset=OPSET, **order)
    return model


def _named(y: Any) -> dict[str, Any]:
    return y if isinstance(y, dict) else {"logits": y}


def _images(tensors: dict[str, Any]) -> list[str]:
    """The name "features", where they are images."""
    return [name for name, tensor in tensors.items() if name == "features" and len(tensor.shape) == 4]


class _BatchedDense(keras.layers.Dense):
    """On tokens Keras' layer flattens the batch, which costs five operators around each product where it is free."""

    def call(self, inputs: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Multiplies without a reshape."""
        y = tf.matmul(inputs, self.kernel)
        return y + self.bias if self.use_bias else y


def _batched(network: keras.Model) -> keras.Model:
    """The same network with ``_BatchedDense`` layers."""

    def swap(layer: Any) -> Any:
        made = _BatchedDense if isinstance(layer, keras.layers.Dense) else type(layer)
        return made.from_config(layer.get_config())

    twin = keras.models.clone_model(network, clone_function=swap)
    twin.set_weights(network.get_weights())
    return twin


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """tf2onnx logs each step, errors among them, and goes on; what it wrote is run and compared anyway."""
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def runner(data: bytes, num_threads: int = 1) -> Callable[..., dict[str, np.ndarray]]:
    """Opens an ONNX file on the CPU.

    Args:
        data: the file's bytes.
        num_threads: of ONNX Runtime.

    Returns:
        A function from the inputs, by keyword, to the outputs by name.

    Raises:
        RuntimeError: ONNX Runtime refuses the file.
        ImportError: ``onnxruntime`` is missing.
    """
    onnxruntime = package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # what the binding raises has no common type
        raise RuntimeError(f"ONNX Runtime refuses the converted file: {error}") from error
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(names, inputs), strict=True))
