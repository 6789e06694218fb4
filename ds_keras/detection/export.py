"""A TFLite file for each level: images in, decoded boxes and scores out."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ds_keras.core import cost
from ds_keras.core.backend import dtype_policy
from ds_keras.core.files import expanded, write_bytes, write_json
from ds_keras.detection.network import DSDetector
from ds_keras.detection.session import DESCRIPTION, FILE, FORMAT_VERSION
from ds_keras.export.subnet import Plain
from ds_keras.export.tflite.convert import check, convert


def subnet(model: DSDetector, level: Any) -> keras.Model:
    """A level of a detector as a plain Keras network.

    Args:
        model: detector.
        level: int, or a ``SliceLevel`` of the model.

    Returns:
        A float32 ``keras.Model`` of plain ``keras.layers`` from (batch, height, width, channels) images in [0, 255] to
        {"boxes": (batch, locations, 4) fractions, "scores": (batch, locations, classes) in [0, 1]}.

    Raises:
        ValueError: the model has no such level.

    Example:
        >>> subnet(model, 0)(images)["boxes"]
    """
    model.build()
    index = model.static_level(level)
    with dtype_policy("float32"):
        images = keras.Input(model.image_shape, name="images", dtype="float32")
        boxes, logits = model.decode(model.logits(_Shared(index), images))
        outputs = {"boxes": boxes, "scores": keras.ops.sigmoid(logits)}
        return keras.Model(images, outputs, name=f"{model.name}_level{index}")


class _Shared(Plain):
    """As ``Plain``; a layer that is visited again gives its twin again."""

    def __init__(self, level: int):
        super().__init__(level)
        self.made: dict[int, list[keras.layers.Layer]] = {}
        self.current: list[keras.layers.Layer] = []

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """See the base class."""
        if id(layer) in self.made:
            for twin in self.made[id(layer)]:
                x = twin(x)
            return x
        self.current = self.made[id(layer)] = []
        return super().apply(layer, x)

    def plain(self, twin: keras.layers.Layer) -> Any:
        """See the base class; remembers the twin."""
        self.current.append(twin)
        return twin


def to_tflite(model: DSDetector, directory: str | os.PathLike, levels: str | Sequence[int] = "all") -> list[Path]:
    """Writes ``level_<k>.tflite`` for each level, and ``detector.json``, which ``Session`` reads beside them.

    A file takes "images", float32 (1, height, width, channels) in [0, 255], and gives "boxes" (1, locations, 4):
    x_min, y_min, x_max, y_max as fractions of the image's width and height, and "scores" (1, locations, classes). Of
    overlapping boxes the surest is chosen outside (``Session``, or ``ds_keras.detection.boxes.choose``). Every file is
    run in LiteRT and compared with the detector before it is written.

    Args:
        model: detector.
        directory: created if needed.
        levels: "all", or a list of levels.

    Returns:
        The paths, in the order of the levels.

    Raises:
        ValueError: bad level.
        RuntimeError: a file does not give what the detector gives; nothing was written for it.
        ImportError: ``ai_edge_litert`` is missing.

    Example:
        >>> to_tflite(model, "tflite")
    """
    directory, source = expanded(directory), model.in_float32()
    wanted = [model.static_level(k) for k in (range(len(model.levels)) if levels == "all" else levels)]
    sample = np.random.default_rng(0).uniform(0, 255, (1, *model.image_shape)).astype("float32")
    paths = []
    for level in wanted:
        network = subnet(source, level)
        data = convert(network)
        boxes, logits = source.decode(source(sample, level=level))
        expected = {"boxes": np.asarray(boxes), "scores": np.asarray(keras.ops.sigmoid(logits))}
        check(network.name, data, expected, sample, None)
        paths.append(directory / FILE.format(level))
        write_bytes(paths[-1], data)
    rows = [{"level": level, "file": FILE.format(level), "madds": cost.madds(model, level)} for level in wanted]
    record = {
        "format_version": FORMAT_VERSION,
        "input_shape": list(model.image_shape),
        "num_classes": model.num_classes,
        "labels": model.labels,
        "levels": rows,
    }
    write_json(directory / DESCRIPTION, record)
    return paths
