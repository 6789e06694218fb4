"""Bytes of a bundle against one file of its largest level: ``python -m ds_keras.benchmarks.size``."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import app, flags

from ds_keras.export import to_bundle, to_tflite
from ds_keras.models import DSMobileNet

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

FEW = (0, 4, 9, 13)  # levels of the published layout that span it
SPREAD = {"gamma": (0.5, 1.5), "moving_variance": (0.5, 1.5), "beta": (-0.5, 0.5), "moving_mean": (-0.5, 0.5)}


def sizes(model: "Supernet", quantization: str | None = None, calibration_data: Any = None) -> dict[str, Any]:
    """Writes a bundle, and one file of the largest level.

    Args:
        model: supernet, with statistics as training leaves them: untrained ones compress to nothing.
        quantization: of both, see ``ds_keras.export.to_bundle``.
        calibration_data: see ``ds_keras.export.to_bundle``.

    Returns:
        A row: "what", "level" (how many there are), "kind" (the quantization), "bytes" of the bundle, "file" (bytes of
        the largest level's file) and "ratio".

    Example:
        >>> sizes(with_random_statistics(DSMobileNet.imagenet(levels=[0, 13])))["ratio"]
    """
    largest, arguments = len(model.levels) - 1, (quantization, calibration_data)
    with tempfile.TemporaryDirectory() as folder:
        bundle = os.path.getsize(to_bundle(model, Path(folder) / "model.dsbundle", *arguments))
        (path,) = to_tflite(model, folder, [largest], *arguments)
        file = os.path.getsize(path)
    kind = quantization or "float32"
    return {
        "what": "size",
        "level": len(model.levels),
        "kind": kind,
        "bytes": bundle,
        "file": file,
        "ratio": bundle / file,
    }


def with_random_statistics(model: "Supernet", seed: int = 0) -> "Supernet":
    """Gives every BatchNorm numbers that differ from channel to channel and from level to level, as training does.

    Args:
        model: supernet; changed.
        seed: of the numbers.

    Returns:
        The model.
    """
    model.build()
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name in SPREAD:
            variable.assign(rng.uniform(*SPREAD[variable.name], variable.shape))
    return model


def main(arguments: Sequence[str]) -> None:
    """Prints a line for each number of levels and each quantization."""
    for count in map(int, FLAGS.levels):
        levels = tuple(range(14)) if count == 14 else FEW[:count]
        model = with_random_statistics(DSMobileNet.imagenet(levels=levels))
        images = np.random.default_rng(0).uniform(0, 255, (8, *model.image_shape)).astype("float32")
        for kind in FLAGS.quantization:
            quantization = None if kind == "float32" else kind
            row = sizes(model, quantization, images if kind == "int8" else None)
            print("{level:2} levels, {kind}: {bytes} bytes, {file} of one file, ratio {ratio:.4f}".format(**row))


if __name__ == "__main__":
    FLAGS = flags.FLAGS
    flags.DEFINE_list("levels", ["4", "14"], "Numbers of levels: up to 4 that span the layout, or all 14.")
    flags.DEFINE_list("quantization", ["float32", "float16", "int8"], "float32, float16, int8 or dynamic_int8.")
    app.run(main)
