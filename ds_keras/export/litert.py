"""Static TFLite files, one for each level, each run and compared before it is moved into place."""

import contextlib
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.export.subnet import subnet
from ds_keras.files import write_bytes

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

QUANTIZATIONS = (None, "float16")
PARTS = ("whole",)
TOLERANCE = {None: 1e-4, "float16": 2e-2}  # x max(1, largest |logit|)


def to_tflite(
    model: "Supernet",
    directory: str | os.PathLike,
    levels: str | Sequence[int] = "all",
    quantization: str | None = None,
    part: str = "whole",
) -> list[Path]:
    """Writes ``level_<k>.tflite`` for each level: builtin operators only, no variables, no Flex.

    The input is float32 (1, height, width, channels) in [0, 255], resizable; the graph normalises. Every file is run in
    LiteRT and compared with its Keras network before it is moved into place.

    Args:
        model: supernet.
        directory: created if needed.
        levels: "all", or a list of levels.
        quantization: None (float32) or "float16" (weights stored in half precision).
        part: "whole": image to logits.

    Returns:
        The paths, in the order of the levels.

    Raises:
        ValueError: bad argument.
        RuntimeError: a converted file does not give the network's logits; nothing was written for it.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> to_tflite(model, "tflite", levels=[0, 3])
    """
    if quantization not in QUANTIZATIONS:
        raise ValueError(f"quantization must be one of {QUANTIZATIONS}, received {quantization!r}")
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, received {part!r}")
    if levels != "all" and not isinstance(levels, list | tuple | range):
        raise ValueError(f"levels must be 'all' or a list of integers, received {levels!r}")
    wanted = [model.static_level(k) for k in (range(len(model.levels)) if levels == "all" else levels)]
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"directory must be a directory, received the file {str(directory)!r}")
    paths = []
    for level in wanted:
        network = subnet(model, level)
        data = convert(network, model.image_shape, quantization)
        check(data, network, TOLERANCE[quantization])
        paths.append(directory / f"level_{level}.tflite")
        write_bytes(paths[-1], data)
    return paths


def convert(network: keras.Model, image_shape: Sequence[int], quantization: str | None = None) -> bytes:
    """Converts a plain network to a TFLite flatbuffer.

    Args:
        network: plain functional model.
        image_shape: (height, width, channels).
        quantization: None or "float16".

    Returns:
        The file's bytes.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        archive = keras.export.ExportArchive()
        archive.track(network)
        signature = [tf.TensorSpec((1, *image_shape), tf.float32, name="images")]
        archive.add_endpoint("serve", lambda images: {"logits": network(images, training=False)}, signature)
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        if quantization == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def operators(data: bytes) -> list[str]:
    """The operators of a TFLite file, by name; custom ones (Flex among them) as ``CUSTOM:<name>``.

    Args:
        data: the file's bytes.

    Returns:
        Sorted distinct names.
    """
    schema = _litert("schema_py_generated")
    codes = schema.ModelT.InitFromPackedBuf(data, 0).operatorCodes
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    found = set()
    for code in codes:
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        found.add(f"CUSTOM:{(code.customCode or b'').decode()}" if names[builtin] == "CUSTOM" else names[builtin])
    return sorted(found)


def check(data: bytes, network: keras.Model, tolerance: float) -> None:
    """Runs a converted file and compares it with its network, at batch 1 and resized to batch 2.

    Args:
        data: TFLite file.
        network: what it was converted from.
        tolerance: allowed difference, x max(1, largest |logit|).

    Raises:
        RuntimeError: other logits, a variable, or an operator that is not builtin.
    """
    bad = [name for name in operators(data) if name.startswith(("CUSTOM", "VAR_HANDLE", "READ_VARIABLE"))]
    if bad:
        raise RuntimeError(f"{network.name}: the converted file holds operators that LiteRT does not run alone: {bad}")
    images = np.random.default_rng(0).uniform(0, 255, (2, *network.input_shape[1:])).astype("float32")
    expected = np.asarray(network(images, training=False))
    for batch in (1, 2):
        worst = float(np.abs(run_tflite(data, images[:batch]) - expected[:batch]).max())
        limit = tolerance * max(1.0, float(np.abs(expected).max()))
        if not worst <= limit:
            raise RuntimeError(f"{network.name}: LiteRT differs from Keras by {worst:.3g}, allowed {limit:.3g}")


def run_tflite(data: bytes, images: np.ndarray) -> np.ndarray:
    """Runs a TFLite file on a batch.

    Args:
        data: the file's bytes.
        images: (batch, height, width, channels) float32 in [0, 255].

    Returns:
        (batch, classes) float32.
    """
    interpreter = _litert("interpreter").Interpreter(model_content=data)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _litert(module: str) -> Any:
    try:
        return __import__(f"ai_edge_litert.{module}", fromlist=[module])
    except ImportError as error:
        raise ImportError("exporting to TFLite runs every file in LiteRT: pip install 'ds_keras[runtime]'") from error
