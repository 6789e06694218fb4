"""Compressed networks as TFLite files, run and compared before they are moved into place."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import tensorflow as tf

from ds_keras.core.files import write_bytes
from ds_keras.export.compress.libraries import libraries
from ds_keras.export.flatbuffer import litert, unpacked
from ds_keras.export.metadata import about, described
from ds_keras.export.tflite.convert import check, convert_function

if TYPE_CHECKING:
    import tf_keras

    from ds_keras.models.supernet import Supernet

# What rounding may make of int8 logits, x max(1, largest |logit|): integer kernels round where training does not.
LARGEST, MEAN = 0.25, 0.03


def to_tflite(
    network: "tf_keras.Model",
    path: str | os.PathLike,
    model: Optional["Supernet"] = None,
    level: int | None = None,
    licence: str | None = None,
) -> Path:
    """Writes what ``compress`` gives as a static TFLite file of batch 1, resizable, with builtin operators only.

    A pruned or clustered network gives float32 "images" (1, height, width, channels) in [0, 255] to float32 "logits"
    (1, classes); the saving shows when the file is compressed. A quantised one computes in integers throughout:
    "images" are uint8 and "logits" int8, to be read as scale x (code - zero point); every tensor between is int8 or
    int32. The file is run in LiteRT and compared with the network before it is moved into place.

    Args:
        network: from ``compress`` or ``legacy``.
        path: file to write; directories are created.
        model: supernet that the network was made from; the file then holds TFLite metadata, as ``export.to_tflite``
            writes it: labels, licence, level.
        level: that it was made from, together with ``model``.
        licence: of the weights, for the metadata.

    Returns:
        The path.

    Raises:
        ValueError: ``path`` is a directory, or one of ``model`` and ``level`` is missing.
        RuntimeError: the file does not give the network's logits, or a quantised one computes in floats; nothing was
            written.
        ImportError: ``ai_edge_litert``, tf_keras or tfmot is missing.

    Source: tfmot's guide to quantisation-aware training, https://www.tensorflow.org/model_optimization/guide.

    Example:
        >>> to_tflite(compress(model, 0, batches, ["quantize"]), "level_0_int8.tflite", model, 0)
    """
    path = Path(path)
    if (model is None) != (level is None) or (licence is not None and model is None):
        raise ValueError(f"model and level belong together, and licence to them; received level={level!r}, {licence=}")
    if path.is_dir():
        raise ValueError(f"path must be a file, received the directory {str(path)!r}")
    libraries()
    from ds_keras.export.compress.methods import is_quantized

    quantized = is_quantized(network)
    data = convert(network, quantized)
    if model is not None:
        data = described(data, about(model, "whole", model.static_level(level), licence))
    sample = np.random.default_rng(0).integers(0, 256, (16, *network.input_shape[1:])).astype("float32")
    if quantized:
        _check_int8(data, network, sample)
    else:
        check(network.name, data, {"logits": np.asarray(network(sample, training=False))}, sample, None)
    write_bytes(path, data)
    return path


def run(data: bytes, images: np.ndarray) -> np.ndarray:
    """Runs a file that ``to_tflite`` wrote.

    Args:
        data: the file's bytes.
        images: (batch, height, width, channels) whole numbers in [0, 255].

    Returns:
        (batch, classes) float32 logits, scaled where the file gives codes.
    """
    runner = litert("interpreter").Interpreter(model_content=data).get_signature_runner("serve")
    dtype = runner.get_input_details()["images"]["dtype"]
    logits = runner(images=images.astype(dtype))["logits"]
    if logits.dtype == np.float32:
        return logits
    scale, zero = runner.get_output_details()["logits"]["quantization"]
    return np.float32(scale) * (logits.astype("float32") - zero)


def convert(network: Any, quantized: bool) -> bytes:
    """Converts a tf_keras network of one input and one output to a TFLite flatbuffer of batch 1."""
    (x,) = network.inputs
    spec = tf.TensorSpec((1, *x.shape[1:]), tf.float32, name="images")
    optimize = {"input_type": tf.uint8, "output_type": tf.int8} if quantized else None
    return convert_function(
        lambda images: {"logits": network(images, training=False)}, spec, network.variables, optimize
    )


def _check_int8(data: bytes, network: Any, sample: np.ndarray) -> None:
    """Raises RuntimeError for a float tensor, or for logits that are not the network's but for rounding."""
    schema = litert("schema_py_generated")
    types = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    graph = unpacked(data).subgraphs[0]
    allowed = {"INT8", "INT32"}
    for i, tensor in enumerate(graph.tensors):
        kind = types[tensor.type]
        if kind not in allowed and not (kind == "UINT8" and i in graph.inputs):
            raise RuntimeError(f"{network.name}: the tensor {tensor.name.decode()!r} of the int8 file is {kind}")
    expected = np.asarray(network(sample, training=False))
    scale = max(1.0, float(np.abs(expected).max()))
    for batch in (1, len(sample)):
        error = np.abs(run(data, sample[:batch]) - expected[:batch])
        if not (error.max() <= LARGEST * scale and error.mean() <= MEAN * scale):
            raise RuntimeError(
                f"{network.name}: LiteRT differs from tf_keras by {error.max():.3g} at most and {error.mean():.3g} in "
                f"the mean, allowed {LARGEST * scale:.3g} and {MEAN * scale:.3g}"
            )
