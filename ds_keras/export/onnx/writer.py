"""ONNX files: one level, every level with the level as an input, or every level behind the gate."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ds_keras import __version__
from ds_keras.core import cost
from ds_keras.core.files import expanded, write_bytes
from ds_keras.core.levels import SliceLevel, require_levels
from ds_keras.export.metadata import check_licence
from ds_keras.export.onnx.convert import convert, package, runner
from ds_keras.export.onnx.graph import GATE_SHIFT, every_level, gate_shift
from ds_keras.export.subnet import route_network, subnet
from ds_keras.export.tflite.convert import TOLERANCE

if TYPE_CHECKING:
    from onnx import ModelProto

    from ds_keras.models.supernet import Supernet

FORMAT, FORMAT_VERSION = "ds_keras", 1
ONE_LEVEL, LEVEL_INPUT, GATE = ("one level", "level input", "gate")
SAMPLES = 3  # images that are compared; 1 and all of them at a time where the batch is free


def to_onnx(model: "Supernet", path: str | os.PathLike, level: Any = None, licence: str | None = None) -> Path:
    """Writes an ONNX file (opset 17), which is run in ONNX Runtime and compared with Keras before it is kept.

    Every file reads "images", float32 (batch, height, width, channels) in [0, 255] (the graph normalises), and gives
    "logits", float32 (batch, classes):

    - a level: that level alone, BatchNorm folded.
    - None: every level, every kernel once. A second input, "level", is a scalar int32: feed ``np.asarray(2, "int32")``.
      It is clamped: what is below 0 runs the smallest level, what is above the largest runs that. All images of a batch
      run at the one level.
    - "gate": every level, and the gate with the model's budget shift as it is now (``gate_shift``): one image (batch is
      1), and a second output, "level", int64 (1,), the one that ran. Of equal logits the first level wins.

    ONNX Runtime cuts and scales the shared kernels when it loads a file of all levels: they cost nothing at run time,
    but all levels lie in memory then. ``get_modelmeta().custom_metadata_map`` holds, as text: "format",
    "format_version", "kind" ("one level", "level input" or "gate"), "name", "levels" (JSON: index, slice ratios and
    multiply-adds of each level that the file holds), "classes", "input", and where known "labels" (JSON), "gate_shift"
    and "licence".

    Args:
        model: supernet.
        path: file to write; its directory is created if needed.
        level: None, "gate", an int, or a ``SliceLevel`` of the model.
        licence: of the weights, for the metadata.

    Returns:
        The path.

    Raises:
        ValueError: bad argument.
        RuntimeError: the converted file does not give the network's logits; nothing was written.
        ImportError: ``tf2onnx``, ``onnx`` or ``onnxruntime`` is missing.

    Example:
        >>> to_onnx(model, "ds_mobilenet.onnx")
        >>> session = onnxruntime.InferenceSession("ds_mobilenet.onnx")
        >>> session.run(["logits"], {"images": images, "level": np.asarray(0, "int32")})
    """
    check_licence(licence)
    require_levels(model)
    if model.task != "classification":
        raise ValueError(f"model must be a classifier, received the {type(model).__name__} {model.name!r}")
    path, count = expanded(path), len(model.levels)
    if isinstance(level, str) and level != GATE:
        raise ValueError(f"level must be None, 'gate' or an integer in [0, {count}), received {level!r}")
    if path.is_dir():
        raise ValueError(f"path must be a file, received the directory {str(path)!r}")
    for name in ("onnxruntime", "onnx", "tf2onnx"):
        package(name)
    model.build()
    if level is None or level == GATE:
        kind, levels = level or LEVEL_INPUT, list(model.levels)
        networks = [subnet(model, one) for one in levels]
        made = every_level(model, gate=kind == GATE)
    else:
        kind, levels = ONE_LEVEL, [(*model.levels, model.teacher_level)[model.static_level(level)]]
        networks = [subnet(model, levels[0])]
        made = convert(subnet(model, levels[0], fold_batch_norm=True))
    _describe(made, model, kind, levels, licence)
    _check(made, model, kind, networks)
    write_bytes(path, made.SerializeToString())
    return path


def _describe(
    made: "ModelProto", model: "Supernet", kind: str, levels: Sequence[SliceLevel], licence: str | None
) -> None:
    """Names, and the metadata of the file."""
    made.producer_name, made.producer_version, made.graph.name = FORMAT, __version__, model.name
    if kind != GATE:
        for value in (made.graph.input[0], made.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    gate = model.costs[0].gate if kind == GATE else 0
    rows = [{"level": one.index, "ratios": dict(one.ratios), "madds": cost.madds(model, one) + gate} for one in levels]
    height, width, channels = model.image_shape
    found = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "kind": kind,
        "name": model.name,
        "levels": json.dumps(rows),
        "classes": str(model.num_classes),
        "input": f"float32 (batch, {height}, {width}, {channels}) in [0, 255]; the graph normalises",
    }
    if model.labels is not None:
        found["labels"] = json.dumps(list(model.labels))
    if kind == GATE:
        found["gate_shift"] = str(float(model.gate_shift.numpy()[0]))
    if licence is not None:
        found["licence"] = licence
    package("onnx.helper").set_model_props(made, found)


def _check(made: "ModelProto", model: "Supernet", kind: str, networks: Sequence[keras.Model]) -> None:
    """Compares a file with the plain network of every level that it holds.

    Raises:
        RuntimeError: other outputs, or a file that ONNX Runtime refuses.
    """
    images = np.random.default_rng(0).uniform(0, 255, (SAMPLES, *model.image_shape)).astype("float32")
    expected = [np.asarray(network(images, training=False)) for network in networks]
    if kind == GATE:
        _check_gate(made, model, images, expected)
        return
    run = runner(made.SerializeToString())
    for level, logits in enumerate(expected):
        chosen = {"level": np.asarray(level, "int32")} if kind == LEVEL_INPUT else {}
        for batch in (1, SAMPLES):
            _compare(networks[level].name, run(images=images[:batch], **chosen)["logits"], logits[:batch])


def _check_gate(made: "ModelProto", model: "Supernet", images: np.ndarray, expected: Sequence[np.ndarray]) -> None:
    """As the file is, then every branch: no image may choose it, so the shift is made to."""
    gate = np.asarray(route_network(model)(images, training=False)["gate"]) - gate_shift(model)
    run = runner(made.SerializeToString())
    for i in range(SAMPLES):
        found = run(images=images[i : i + 1])
        (level,) = found["level"]
        _compare(f"{model.name}: gate, the logit of its level", gate[i, level], gate[i].max())
        _compare(f"{model.name}: gate, level {level}", found["logits"], expected[level][i : i + 1])
    (shift,) = (values for values in made.graph.initializer if values.name == GATE_SHIFT)
    kept, from_array = shift.SerializeToString(), package("onnx.numpy_helper").from_array
    for level, logits in enumerate(expected):
        others = np.where(np.arange(len(expected)) == level, 0, 1e9).astype("float32")
        shift.CopyFrom(from_array(others, GATE_SHIFT))
        found = runner(made.SerializeToString())(images=images[:1])
        if found["level"] != [level]:
            raise RuntimeError(f"{model.name}: the gate's level {level} runs as {found['level']}")
        _compare(f"{model.name}: gate, level {level}", found["logits"], logits[:1])
    shift.ParseFromString(kept)


def _compare(what: str, found: np.ndarray, expected: np.ndarray) -> None:
    if np.shape(found) != np.shape(expected):
        raise RuntimeError(f"{what}: ONNX Runtime gives the shape {np.shape(found)}, Keras {np.shape(expected)}")
    worst = float(np.abs(found - expected).max())
    limit = TOLERANCE[None] * max(1.0, float(np.abs(expected).max()))
    if not worst <= limit:
        raise RuntimeError(f"{what}: ONNX Runtime differs from Keras by {worst:.3g}, allowed {limit:.3g}")


def metadata(data: bytes) -> dict[str, str]:
    """The metadata of an ONNX file (see ``to_onnx``).

    Args:
        data: the file's bytes.

    Returns:
        Text by key; empty where another program wrote the file, or it is none.
    """
    message = package("google.protobuf.message")
    try:
        model = package("onnx").load_model_from_string(data)
    except message.DecodeError:
        return {}
    return {entry.key: entry.value for entry in model.metadata_props}
