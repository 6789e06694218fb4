"""Converts plain networks to TFLite, runs the files in LiteRT, and compares the two."""

import contextlib
import io
import tempfile
from typing import Any

import flatbuffers
import keras
import numpy as np
import tensorflow as tf

QUANTIZATIONS = (None, "float16")
TOLERANCE = {None: 1e-4, "float16": 2e-2}  # x max(1, largest |logit|)


def convert(network: keras.Model, quantization: str | None = None) -> bytes:
    """Converts a plain network to a TFLite flatbuffer of batch 1.

    Args:
        network: plain functional model of one input; one output, which becomes "logits", or a dict of them.
        quantization: None or "float16".

    Returns:
        The file's bytes.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        archive = keras.export.ExportArchive()
        archive.track(network)
        (x,) = network.inputs
        signature = [tf.TensorSpec((1, *x.shape[1:]), tf.float32, name=x.name)]
        archive.add_endpoint("serve", lambda x: _outputs(network, x), signature)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        if quantization == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def _outputs(network: keras.Model, x: Any) -> dict[str, tf.Tensor]:
    y = network(x, training=False)
    return y if isinstance(y, dict) else {"logits": y}


def unpacked(data: bytes) -> Any:
    """A TFLite file's graph as objects that can be changed: ``ModelT`` of LiteRT's schema."""
    return litert("schema_py_generated").ModelT.InitFromPackedBuf(data, 0)


def repacked(graph: Any) -> bytes:
    """The flatbuffer of a graph."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(graph.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operators(data: bytes) -> list[str]:
    """The operators of a TFLite file, by name; custom ones (Flex among them) as ``CUSTOM:<name>``.

    Args:
        data: the file's bytes.

    Returns:
        Sorted distinct names.
    """
    schema, codes = litert("schema_py_generated"), unpacked(data).operatorCodes
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    found = set()
    for code in codes:
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        found.add(f"CUSTOM:{(code.customCode or b'').decode()}" if names[builtin] == "CUSTOM" else names[builtin])
    return sorted(found)


def check(data: bytes, network: keras.Model, sample: np.ndarray, tolerance: float) -> None:
    """Runs a converted file and compares it with its network, at batch 1 and resized to the whole sample.

    Args:
        data: TFLite file.
        network: what it was converted from.
        sample: inputs of the network, at least two.
        tolerance: allowed difference, x max(1, largest |output|).

    Raises:
        RuntimeError: other outputs, a variable, or an operator that is not builtin.
    """
    bad = [name for name in operators(data) if name.startswith(("CUSTOM", "VAR_HANDLE", "READ_VARIABLE"))]
    if bad:
        raise RuntimeError(f"{network.name}: the converted file holds operators that LiteRT does not run alone: {bad}")
    every = {name: np.asarray(value) for name, value in _outputs(network, sample).items()}
    for batch in (1, len(sample)):
        found = run_tflite(data, sample[:batch])
        for name, expected in every.items():
            worst = float(np.abs(found[name] - expected[:batch]).max())
            limit = tolerance * max(1.0, float(np.abs(expected).max()))
            if not worst <= limit:
                raise RuntimeError(
                    f"{network.name}: LiteRT differs from Keras by {worst:.3g}, allowed {limit:.3g} ({name})"
                )


def run_tflite(data: bytes, x: np.ndarray) -> dict[str, np.ndarray]:
    """Runs a TFLite file on a batch.

    Args:
        data: the file's bytes.
        x: (batch, ...) float32: images in [0, 255], or features.

    Returns:
        The outputs by name.
    """
    interpreter = litert("interpreter").Interpreter(model_content=data)
    runner = interpreter.get_signature_runner("serve")
    (name,) = runner.get_input_details()
    return runner(**{name: x})


def litert(module: str) -> Any:
    """A module of ``ai_edge_litert``; an error that says what to install where it is missing."""
    try:
        return __import__(f"ai_edge_litert.{module}", fromlist=[module])
    except ImportError as error:
        raise ImportError("exporting to TFLite runs every file in LiteRT: pip install 'ds_keras[runtime]'") from error
