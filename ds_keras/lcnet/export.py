"""An LC-ResNet as one TFLite file, in which what an image skips does not run: the operator ``IF`` of LiteRT."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ds_keras.core.files import write_bytes
from ds_keras.export.flatbuffer import check_operators
from ds_keras.export.metadata import About, check_licence, described
from ds_keras.export.tflite.convert import check_output, convert_function, run_tflite
from ds_keras.export.tflite.writer import write_files
from ds_keras.lcnet.model import LCResNet
from ds_keras.lcnet.skipping import How, in_conditional
from ds_keras.zoo import DYNAMIC

OPTIMIZE = {None: None, "float16": {"supported_types": [tf.float16]}, "dynamic_int8": {}}  # of the converter


@write_files.register
def _(
    model: LCResNet,
    directory: Path,
    levels: str | Sequence[int],
    quantization: str | None,
    calibration_data: Any,
    part: str,
    licence: str | None,
) -> list[Path]:
    if levels != "all" or part != "whole" or calibration_data is not None:
        raise ValueError(
            "levels, part and calibration_data belong to supernets: an LCResNet becomes one file, received "
            f"levels={levels!r}, part={part!r}"
        )
    return [to_conditional_tflite(model, directory, quantization, licence)]


def to_conditional_tflite(
    model: LCResNet,
    directory: str | os.PathLike,
    quantization: str | None = None,
    licence: str | None = None,
) -> Path:
    """Writes ``dynamic.tflite``: builtin operators only, made for one image at a time.

    "images", float32 (1, height, width, channels) in [0, 255], to "logits" (1, classes) and, where something can be
    skipped, "scales" (1, units), 0 where a unit is skipped (``model.units`` names them). Blocks, and groups of
    channels, are branches of conditionals; resized to a batch, the file runs what any of its images needs. It is run in
    LiteRT and compared with Keras before it is moved into place, on images of noise; it holds TFLite metadata as every
    file.

    Args:
        model: LC-ResNet.
        directory: created if needed.
        quantization: None (float32), "float16" (weights stored in half precision) or "dynamic_int8" (weights in int8).
        licence: of the weights, for the metadata.

    Returns:
        The path.

    Raises:
        ValueError: bad argument.
        RuntimeError: the converted file does not give the network's logits; nothing was written.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> to_conditional_tflite(model, "tflite")
    """
    check_licence(licence)
    model = model.in_float32()
    if quantization not in OPTIMIZE:
        raise ValueError(f"quantization of an LCResNet must be one of {tuple(OPTIMIZE)}, received {quantization!r}")
    data = converted(model, quantization=quantization)
    labels = None if model.labels is None else tuple(model.labels)
    data = described(data, About(model.name, "dynamic", None, 0, model.madds, model.image_shape, labels, licence))
    _check(model, data, quantization)
    path = Path(directory) / DYNAMIC
    write_bytes(path, data)
    return path


def converted(
    model: LCResNet, how: How = in_conditional, scales: np.ndarray | None = None, quantization: str | None = None
) -> bytes:
    """The network as a TFLite file, without metadata and not compared with anything.

    Args:
        model: LC-ResNet.
        how: one of ``lcnet.skipping``: ``in_full`` computes everything and multiplies.
        scales: (1, units), taken instead of what the predictors give.
        quantization: see ``to_conditional_tflite``.

    Returns:
        The file's bytes.
    """
    model = model.in_float32()
    model.build()

    def run(x: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, predicted = model.forward(x, how, scales=None if scales is None else tf.constant(scales))
        decides = scales is None and model.units
        return {"logits": logits, "scales": model.active(predicted)} if decides else {"logits": logits}

    spec = tf.TensorSpec((1, *model.image_shape), tf.float32, name="images")
    return convert_function(run, spec, [v.value for v in model.variables], OPTIMIZE[quantization])


def _check(model: LCResNet, data: bytes, quantization: str | None) -> None:
    check_operators(data, model.name)
    rng = np.random.default_rng(0)  # images that differ in brightness and contrast, so that decisions differ
    low, high = np.sort(rng.uniform(0, 255, (2, 8, 1, 1, 1)), axis=0)
    x = rng.uniform(low, high, (8, *model.image_shape)).astype("float32")
    expected = model.run(x)
    for i in range(len(x)):
        found = run_tflite(data, x[i : i + 1])
        scales = found.get("scales")
        own = expected.logits[i : i + 1] if scales is None else model.run(x[i : i + 1], scales=scales).logits
        pairs = {"logits": (found["logits"], own)}  # of what the file chose to run, which rounding may change
        if scales is not None:
            pairs["scales"] = (scales, expected.scales[i : i + 1])
        for output, (ours, theirs) in pairs.items():
            check_output(model.name, output, ours, theirs, quantization, float(np.abs(theirs).max()))
