"""Detectors as folders of plain data, checked as the zoo's: JSON, weights and their hash; nothing in it is run."""

import os

from ds_keras import models
from ds_keras.core.backend import at_most, float32_variables
from ds_keras.core.files import expanded, shown
from ds_keras.detection.network import DSDetector
from ds_keras.zoo import MORE_LAYERS, save, weights
from ds_keras.zoo.records import CONFIG, WEIGHTS, build, check_hashes, read_record, weights_file

__all__ = ["load", "save"]

ENTRIES = {"backbone", "labels", "name", "num_classes", "strides", "width"}


def load(directory: str | os.PathLike) -> DSDetector:
    """Loads a detector that ``save`` wrote.

    Args:
        directory: of the detector.

    Returns:
        The detector, built.

    Raises:
        ValueError: a damaged folder, or none of a detector; the message names the file.

    Example:
        >>> model = detection.load("runs/cells/preset")
    """
    folder = expanded(directory)
    record, path = read_record(folder), folder / CONFIG
    files = {name: folder / name for name in record["sha256"]} | {WEIGHTS: weights_file(folder, record)}
    check_hashes(files, record["sha256"])
    config = record["config"]
    backbone = config.get("backbone")
    if record.get("class") != "DSDetector" or set(config) != ENTRIES or not isinstance(backbone, dict):
        raise ValueError(
            f"{path} must be of a DSDetector with {sorted(ENTRIES)}, received {shown(record.get('class'))}"
        )
    kind = backbone.get("class")
    if kind not in models.__all__ or kind == "Supernet" or not isinstance(backbone.get("config"), dict):
        raise ValueError(f"{path}: the backbone must be a model of ds_keras.models, received {shown(repr(kind))}")
    size = weights.measure(files[WEIGHTS])
    with float32_variables(), at_most(layers=2 * size.arrays + MORE_LAYERS, weights=size.values, source=WEIGHTS):
        inner = build(getattr(models, kind), backbone["config"], path, weights=False)
        try:
            model = DSDetector(**{**config, "backbone": inner})
            model.build()
        except Exception as error:  # a damaged value can fail anywhere
            raise ValueError(f"{path}: the config does not describe a DSDetector: {shown(error, 500)}") from error
    weights.load(model, files[WEIGHTS])
    return model
