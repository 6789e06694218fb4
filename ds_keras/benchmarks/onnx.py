"""Timings of ONNX files in ONNX Runtime, one image at a time."""

import functools
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.core.files import read_limited
from ds_keras.core.timing import paired
from ds_keras.export.onnx.convert import convert, runner
from ds_keras.export.onnx.writer import LEVEL_INPUT, metadata
from ds_keras.export.subnet import subnet
from ds_keras.export.tflite import convert as litert
from ds_keras.runtime.network import Interpreted

MAX_BYTES = 1 << 31  # of an ONNX file

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def onnx_levels(
    model: "Supernet", path: str | os.PathLike, images: np.ndarray, rounds: int = 30, num_threads: int = 1
) -> list[dict[str, Any]]:
    """Each level of a file with the level as an input against its static ONNX file, and that against its TFLite file.

    Args:
        model: supernet that the file was made of; the static files are made here.
        path: written by ``to_onnx(model, path)``.
        images: (count, height, width, channels) float32 in [0, 255]; each call runs all of them, one by one.
        rounds: pairs for each row.
        num_threads: of ONNX Runtime and LiteRT.

    Returns:
        Rows: what ("level input": against the static file; "ONNX Runtime": the static file against LiteRT), level, kind
        (""), and the fields of ``timing.Paired``, whose times are of one image.

    Raises:
        ValueError: not such a file.
        ImportError: a package of the extras ``onnx`` or ``runtime`` is missing.
    """
    data = read_limited(path, MAX_BYTES)
    found = metadata(data)
    if found.get("kind") != LEVEL_INPUT or len(json.loads(found["levels"])) != len(model.levels):
        raise ValueError(
            f"{path} must be an ONNX file with the level of {model.name} as an input, as ds_keras.export.to_onnx"
            f"(model, path) writes it; received {found.get('kind', 'no file of ds_keras')!r} of {found.get('name')!r}"
        )
    every, rows = runner(data, num_threads), []
    for level in range(len(model.levels)):
        one = runner(convert(subnet(model, level, fold_batch_norm=True)).SerializeToString(), num_threads)
        tflite = Interpreted(litert.convert(subnet(model, level)), num_threads)
        static = functools.partial(_call, one)
        by_input = functools.partial(_call, every, level=np.asarray(level, "int32"))
        rows.append(_row("level input", level, by_input, static, images, rounds))
        rows.append(_row("ONNX Runtime", level, static, tflite, images, rounds))
    return rows


def _call(run: Callable, x: np.ndarray, **chosen: np.ndarray) -> None:
    run(images=x, **chosen)


def _row(what: str, level: int, a: Callable, b: Callable, images: np.ndarray, rounds: int) -> dict[str, Any]:
    def run(network: Callable) -> None:
        for image in images:
            network(image[None])

    found = paired(lambda: run(a), lambda: run(b), rounds)
    return {"what": what, "level": level, "kind": "", **found.of_one(len(images))._asdict()}
