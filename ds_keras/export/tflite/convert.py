"""Converts plain networks to TFLite, runs the files in LiteRT, and compares the two."""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from ds_keras.export.flatbuffer import check_operators, float_operators, litert, repacked, unpacked

EXPONENTIAL = 5.0  # x the tolerance of int8 codes of which results are exponentials: of 4, exp(0.1 x 4) is half more
WITH_KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
TOLERANCE = {None: 1e-4, "float16": 2e-2, "dynamic_int8": 0.1, "int8": 0.1}  # x max(1, largest |logit|)


def convert(network: keras.Model, quantization: str | None = None) -> bytes:
    """Converts a plain network to a TFLite flatbuffer of batch 1.

    Args:
        network: plain functional model of one input; one output, which becomes "logits", or a dict of them.
        quantization: None, "float16" or "int8", whose networks say by fake quantisation to what they round: images are
            uint8, features int8, logits float32. Anything else is converted as float.

    Returns:
        The file's bytes.
    """
    (x,) = network.inputs
    spec = tf.TensorSpec((1, *x.shape[1:]), tf.float32, name=x.name)
    optimize = {
        "float16": {"supported_types": [tf.float16]},
        "int8": {"input_type": tf.uint8 if x.name == "images" else tf.int8},
    }.get(quantization or "float32")
    # Constants instead of variables: no checkpoint is written and read, which takes a third of the time. One variable
    # stays: the converter then names the outputs as it does for a network with variables.
    kept, *others = network.variables
    values = [(variable, keras.ops.convert_to_numpy(variable)) for variable in others]

    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        constants = [(variable, tf.constant(value, name=variable.name)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return outputs(network, x)

    data = convert_function(serve, spec, [kept.value], optimize)
    return _with_features_as_codes(data) if quantization == "int8" else data


def convert_function(
    function: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    spec: tf.TensorSpec,
    variables: list[tf.Variable],
    optimize: dict[str, Any] | None = None,
) -> bytes:
    """Converts a function to a TFLite flatbuffer with the signature "serve".

    A network is not saved, only what it computes: that takes half the time, and gives the same bytes. For the same
    reason the function is traced once, and its gradients are not saved.

    Args:
        function: of one tensor, to named tensors.
        spec: of the tensor, with its name.
        variables: that it reads.
        optimize: settings of the converter where it is to optimise: ``supported_types``, ``input_type``,
            ``output_type``; None leaves the numbers as they are.

    Returns:
        The file's bytes.
    """
    module = tf.Module()
    module.variables_of_the_function = variables
    serve = tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), _no_warnings():
        tf.saved_model.save(module, folder, signatures={"serve": serve}, options=options)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        if optimize is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = optimize.get("supported_types", [])
            converter.inference_input_type = optimize.get("input_type", tf.float32)
            converter.inference_output_type = optimize.get("output_type", tf.float32)
        return converter.convert()


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Hides absl's warnings: a file needs none of the gradients that TensorFlow misses."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def outputs(network: keras.Model, x: Any) -> dict[str, tf.Tensor]:
    """The outputs of a plain network by name; a single one is called "logits"."""
    y = network(x, training=False)
    return y if isinstance(y, dict) else {"logits": y}


def _with_features_as_codes(data: bytes) -> bytes:
    """An int8 file whose features, which only another file reads, are not turned into float numbers."""
    graph = unpacked(data)
    (signature,), (subgraph,) = graph.signatureDefs, graph.subgraphs
    for output in signature.outputs:
        if output.name == b"features":
            (last,) = (op for op in subgraph.operators if list(op.outputs) == [output.tensorIndex])
            codes = last.inputs[0]
            subgraph.outputs = [codes if index == output.tensorIndex else index for index in subgraph.outputs]
            subgraph.operators.remove(last)
            output.tensorIndex = codes
    return repacked(graph)


def check_output(
    name: str, output: str, found: np.ndarray, expected: np.ndarray, quantization: str | None, largest: float
) -> None:
    """Refuses an output of a file that is not its network's.

    Args:
        name: of the network.
        output: its name.
        found: what LiteRT gave.
        expected: what Keras gave.
        quantization: of the file; ``TOLERANCE`` has the allowed difference, x max(1, largest).
        largest: magnitude of such an output.

    Raises:
        RuntimeError: it differs.
    """
    worst = float(np.abs(found - expected).max())
    limit = TOLERANCE[quantization] * max(1.0, largest)
    if not worst <= limit:
        raise RuntimeError(f"{name}: LiteRT differs from Keras by {worst:.3g}, allowed {limit:.3g} ({output})")


def check(
    name: str,
    data: bytes,
    expected: dict[str, np.ndarray],
    sample: np.ndarray,
    quantization: str | None,
    one_by_one: bool = False,
    decoded: Sequence[str] = (),
) -> None:
    """Runs a converted file and compares it with its network, at batch 1 and resized to the whole sample.

    Args:
        name: of the network, for the error.
        data: TFLite file.
        expected: what the network gives for the sample: arrays by the name of the output.
        sample: inputs of the network, at least two.
        quantization: of the file; ``TOLERANCE`` has the allowed difference, x max(1, largest |output|).
        one_by_one: whether the file takes a single image: its batch is not resized.
        decoded: outputs that are computed of the last codes, in float numbers and by an exponential function.

    Raises:
        RuntimeError: other outputs, a variable, an operator that is not builtin, or float numbers in an "int8" file.
    """
    check_operators(data, name)
    floats = float_operators(data) if quantization == "int8" else []
    if floats := [name for name in floats if name in WITH_KERNELS or not decoded]:
        raise RuntimeError(f"{name}: operators of the int8 file compute on float numbers: {floats}")
    alone = [slice(i, i + 1) for i in range(len(sample))]
    for rows in alone if one_by_one else (slice(1), slice(len(sample))):
        found = run_tflite(data, sample[rows])
        for output, values in expected.items():
            grown = EXPONENTIAL if output in decoded and quantization in ("dynamic_int8", "int8") else 1.0
            largest = grown * max(1.0, float(np.abs(values).max()))
            check_output(name, output, found[output], values[rows], quantization, largest)


def run_tflite(data: bytes, x: np.ndarray) -> dict[str, np.ndarray]:
    """Runs a TFLite file on a batch.

    Args:
        data: the file's bytes.
        x: (batch, ...) float32: images in [0, 255], or features; rounded to the codes that an int8 file takes.

    Returns:
        The outputs by name, as float32 numbers.
    """
    interpreter = litert("interpreter").Interpreter(model_content=data)
    runner = interpreter.get_signature_runner("serve")
    ((name, entry),) = runner.get_input_details().items()
    if entry["dtype"] != np.float32:
        (scale, zero), limits = entry["quantization"], np.iinfo(entry["dtype"])
        x = np.clip(np.rint(x / np.float32(scale)) + zero, limits.min, limits.max)
    found, details = runner(**{name: x.astype(entry["dtype"])}), runner.get_output_details()
    for output, y in found.items():
        if y.dtype != np.float32:
            scale, zero = details[output]["quantization"]
            found[output] = (y.astype("float32") - zero) * np.float32(scale)
    return found
