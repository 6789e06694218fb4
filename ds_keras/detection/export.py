"""Files of a detector: images in, decoded boxes and scores out."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ds_keras import export
from ds_keras.core import cost
from ds_keras.core.files import expanded, write_json
from ds_keras.detection.files import DESCRIPTION, FILE, FORMAT_VERSION
from ds_keras.detection.network import DSDetector
from ds_keras.detection.routing.cascade import DetectionCascade
from ds_keras.export import subnet

__all__ = ["subnet", "to_bundle", "to_tflite"]


def to_bundle(
    model: DSDetector,
    path: str | os.PathLike,
    quantization: str | None = None,
    calibration_data: Any = None,
    licence: str | None = None,
    cascade: DetectionCascade | None = None,
) -> Path:
    """Writes a bundle: ``ds_keras.export.to_bundle``, with the cascade that was chosen for the detector.

    Args:
        model: detector.
        path: a directory, or a file that ends in ".dsbundle".
        quantization: see ``ds_keras.export.to_bundle``.
        calibration_data: likewise.
        licence: of the weights, for the files' metadata.
        cascade: see ``detection.routing.fit``; ``Session.cascade`` gives it, at the thresholds that it has here.

    Returns:
        The path.

    Raises:
        ValueError: bad argument, a cascade of another detector, or something else than a bundle at ``path``.
        RuntimeError: a level does not give what the network gives; nothing was written.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> to_bundle(model, "things.dsbundle", "float16", cascade=detection.DetectionCascade.read("routing.json"))
        >>> detection.Session("things.dsbundle").detect("photo.jpg", budget=0.5)
    """
    policy = None
    if cascade is not None:
        cascade.check_fits(model)
        policy = cascade.policy_record()
    return export.to_bundle(model, path, quantization, calibration_data, licence, policy)


def to_tflite(
    model: DSDetector,
    directory: str | os.PathLike,
    levels: str | Sequence[int] = "all",
    quantization: str | None = None,
    calibration_data: Any = None,
    licence: str | None = None,
) -> list[Path]:
    """Writes ``level_<k>.tflite`` for each level, and ``detector.json``, which ``Session`` reads beside them.

    A file takes "images", float32 (1, height, width, channels) in [0, 255], and gives "boxes" (1, locations, 4):
    x_min, y_min, x_max, y_max as fractions of the image's width and height, and "scores" (1, locations, classes). Of
    overlapping boxes the surest is chosen outside (``Session``, or ``ds_keras.detection.boxes.choose``). Every file is
    run in LiteRT and compared with the detector before it is written. ``to_bundle`` writes all levels as one file.

    Args:
        model: detector.
        directory: created if needed.
        levels: "all", or a list of levels.
        quantization: see ``ds_keras.export.to_tflite``.
        calibration_data: likewise.
        licence: of the weights, for the files' metadata.

    Returns:
        The paths, in the order of the levels.

    Raises:
        ValueError: bad argument.
        RuntimeError: a file does not give what the detector gives; nothing was written for it.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> to_tflite(model, "tflite")
    """
    paths = export.to_tflite(model, directory, levels, quantization, calibration_data, licence=licence)
    wanted = [model.static_level(k) for k in (range(len(model.levels)) if levels == "all" else levels)]
    rows = [{"level": level, "file": FILE.format(level), "madds": cost.madds(model, level)} for level in wanted]
    record = {
        "format_version": FORMAT_VERSION,
        "input_shape": list(model.image_shape),
        "num_classes": model.num_classes,
        "labels": model.labels,
        "levels": rows,
    }
    write_json(expanded(directory) / DESCRIPTION, record)
    return paths
