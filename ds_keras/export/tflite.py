"""Static TFLite files, one for each level, each run and compared before it is moved into place."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ds_keras.export.litert import QUANTIZATIONS, TOLERANCE, check, convert
from ds_keras.export.metadata import about, described
from ds_keras.export.pack import halved, materialized
from ds_keras.export.subnet import body_network, route_network, subnet
from ds_keras.files import write_bytes

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

PARTS = ("whole", "route", "body")


def to_tflite(
    model: "Supernet",
    directory: str | os.PathLike,
    levels: str | Sequence[int] = "all",
    quantization: str | None = None,
    part: str = "whole",
    licence: str | None = None,
) -> list[Path]:
    """Writes static TFLite files: builtin operators only, no variables, no Flex.

    ``part="whole"`` writes ``level_<k>.tflite`` for each level: "images", float32 (1, height, width, channels) in
    [0, 255], to "logits" (1, classes); the graph normalises. "route" writes ``route.tflite``: "images" to "features"
    and "gate" (the gate's logits without the budget shift); "body" writes ``body_<k>.tflite``: "features" to "logits",
    byte for byte what a bundle makes on a device. Inputs may be resized to larger batches. Every file is run in LiteRT
    and compared with its Keras network before it is moved into place. It holds TFLite metadata: labels, licence, level,
    and a normalisation of mean 0 and std 1, because the graph normalises.

    Args:
        model: supernet.
        directory: created if needed.
        levels: "all", or a list of levels; "route" takes "all" only.
        quantization: None (float32) or "float16" (weights stored in half precision).
        part: "whole", "route" or "body".
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
    source = halved(model) if quantization == "float16" and part != "whole" else model  # as a bundle's parts
    sample = np.random.default_rng(0).uniform(0, 255, (2, *model.image_shape)).astype("float32")
    if part == "whole":
        networks = [(f"level_{k}", k, lambda k=k: subnet(source, k), None) for k in wanted]
    elif part == "body":
        sample = np.asarray(route_network(source)(sample, training=False)["features"])
        networks = [
            (
                f"body_{k}",
                k,
                lambda k=k: body_network(source, k),
                lambda k=k: materialized(source, k, quantization, licence),
            )
            for k in wanted
        ]
    elif levels == "all":
        networks = [("route", None, lambda: route_network(source), None)]
    else:
        raise ValueError(f"levels must be 'all' for part='route', which no level changes, received {levels!r}")
    paths = []
    for name, level, make, pack in networks:
        network = make()
        data = pack() if pack else described(convert(network, quantization), about(model, part, level, licence))
        check(data, network, sample, TOLERANCE[quantization])
        paths.append(directory / f"{name}.tflite")
        write_bytes(paths[-1], data)
    return paths
