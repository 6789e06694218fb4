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

from ds_keras.export.subnet import body_network, route_network, subnet
from ds_keras.files import write_bytes

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

QUANTIZATIONS = (None, "float16")
PARTS = ("whole", "route", "body")
TOLERANCE = {None: 1e-4, "float16": 2e-2}  # x max(1, largest |logit|)


def to_tflite(
    model: "Supernet",
    directory: str | os.PathLike,
    levels: str | Sequence[int] = "all",
    quantization: str | None = None,
    part: str = "whole",
) -> list[Path]:
    """Writes static TFLite files: builtin operators only, no variables, no Flex.

    ``part="whole"`` writes ``level_<k>.tflite`` for each level: "images", float32 (1, height, width, channels) in
    [0, 255], to "logits" (1, classes); the graph normalises. "route" writes ``route.tflite``: "images" to "features"
    and "gate" (the gate's logits without the budget shift); "body" writes ``body_<k>.tflite``: "features" to "logits".
    Inputs may be resized to larger batches. Every file is run in LiteRT and compared with its Keras network before it
    is moved into place.

    Args:
        model: supernet.
        directory: created if needed.
        levels: "all", or a list of levels; "route" takes "all" only.
        quantization: None (float32) or "float16" (weights stored in half precision).
        part: "whole", "route" or "body".

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
    size = (2, *model.image_shape)
    sample = np.random.default_rng(0).uniform(0, 255, size).astype("float32")
    if part == "route":
        if levels != "all":
            raise ValueError(f"levels must be 'all' for part='route', which no level changes, received {levels!r}")
        networks = [("route", route_network(model))]
    elif part == "body":
        sample = np.asarray(route_network(model)(sample, training=False)["features"])
        networks = ((f"body_{level}", body_network(model, level)) for level in wanted)
    else:
        networks = ((f"level_{level}", subnet(model, level)) for level in wanted)
    paths = []
    for name, network in networks:
        data = convert(network, quantization)
        check(data, network, sample, TOLERANCE[quantization])
        paths.append(directory / f"{name}.tflite")
        write_bytes(paths[-1], data)
    return paths


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
    interpreter = _litert("interpreter").Interpreter(model_content=data)
    runner = interpreter.get_signature_runner("serve")
    (name,) = runner.get_input_details()
    return runner(**{name: x})


def _litert(module: str) -> Any:
    try:
        return __import__(f"ai_edge_litert.{module}", fromlist=[module])
    except ImportError as error:
        raise ImportError("exporting to TFLite runs every file in LiteRT: pip install 'ds_keras[runtime]'") from error
