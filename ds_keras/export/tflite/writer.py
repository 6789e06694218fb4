"""Static TFLite files, one for each level, each run and compared before it is moved into place."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.core.files import expanded, write_bytes
from ds_keras.core.levels import require_levels
from ds_keras.core.timing import foreseen, reported
from ds_keras.export.metadata import about, check_licence, described
from ds_keras.export.tflite.source import CONVERTING, ExportSource
from ds_keras.export.tflite.template import materialized

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

NAMES = {"whole": "level_{}", "entry": "entry_{}", "route": "route", "body": "body_{}"}  # of the files, by part
PARTS = tuple(NAMES)


def to_tflite(
    model: "ImageModel",
    directory: str | os.PathLike,
    levels: str | Sequence[int] = "all",
    quantization: str | None = None,
    calibration_data: Any = None,
    part: str = "whole",
    licence: str | None = None,
) -> list[Path]:
    """Writes static TFLite files: builtin operators only, no variables, no Flex.

    ``part="whole"`` writes ``level_<k>.tflite`` for each level: "images", float32 (1, height, width, channels) in
    [0, 255], to "logits" (1, classes); the graph normalises. The others are byte for byte what a bundle makes on a
    device: "entry" writes ``entry_<k>.tflite``, which gives the "features" of the shared start too; "route" writes
    ``route.tflite``: "images" to "features" and "gate" (the gate's logits without the budget shift); "body" writes
    ``body_<k>.tflite``: "features" to "logits". Inputs may be resized to larger batches. Every file is run in LiteRT
    and compared with its Keras network before it is moved into place. It holds TFLite metadata: labels, licence, level,
    and a normalisation of mean 0 and std 1, because the graph normalises.

    An ``LCResNet`` has no levels: it becomes one file, see ``lcnet.export.to_conditional_tflite``.

    Args:
        model: supernet, or ``LCResNet``, for which ``levels``, ``part`` and ``calibration_data`` keep their defaults.
        directory: created if needed.
        levels: "all", or a list of levels; "route" takes "all" only.
        quantization: None (float32); "float16" (weights stored in half precision); "int8" (integers alone,
            from uint8 images on; the logits are turned into float32 at the end; networks of convolutions);
            "dynamic_int8" (weights of convolutions and dense layers in int8, float inputs and outputs).
        calibration_data: (count, height, width, channels) images in [0, 255], some hundreds, that the ranges of "int8"
            are taken from.
        part: "whole", "entry", "route" or "body".
        licence: of the weights, for the metadata.

    Returns:
        The paths, in the order of the levels.

    Raises:
        ValueError: bad argument.
        RuntimeError: a converted file does not give the network's logits; nothing was written for it.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> to_tflite(model, "tflite", levels=[0, 3])
    """
    check_licence(licence)
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, received {part!r}")
    if levels != "all" and not isinstance(levels, list | tuple | range):
        raise ValueError(f"levels must be 'all' or a list of integers, received {levels!r}")
    directory = expanded(directory)
    if directory.suffix in (".tflite", ".dsbundle", ".onnx"):
        raise ValueError(f"directory must be that of the files, received {str(directory)!r}, which looks like a file")
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"directory must be a directory, received the file {str(directory)!r}")
    return write_files(model, directory, levels, quantization, calibration_data, part, licence)


@functools.singledispatch
def write_files(
    model: Any,
    directory: Path,
    levels: str | Sequence[int],
    quantization: str | None,
    calibration_data: Any,
    part: str,
    licence: str | None,
) -> list[Path]:
    """``to_tflite`` for one type of network, its arguments checked: here supernets. Other types register their own."""
    require_levels(model)
    wanted = [model.static_level(k) for k in (range(len(model.levels)) if levels == "all" else levels)]
    if part == "route" and levels != "all":
        raise ValueError(f"levels must be 'all' for part='route', which no level changes, received {levels!r}")
    source, paths = ExportSource(model, quantization, calibration_data), []
    wanted = [0] if part == "route" else wanted
    for level in reported(wanted, f"writing {part} of level", foreseen(model, len(wanted), CONVERTING)):
        if part == "whole":
            data = described(source.converted(part, level), about(model, part, level, licence))
        else:
            data = materialized(source, part, level, licence)
        source.check(data, part, level)
        paths.append(directory / f"{NAMES[part].format(level)}.tflite")
        write_bytes(paths[-1], data)
    return paths
