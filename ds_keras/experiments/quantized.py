"""A trained preset's int8 bundle, and what it gives on the test images."""

import os
from typing import Any

import numpy as np

from ds_keras import data, export, zoo
from ds_keras.core.files import expanded, write_bytes, write_json
from ds_keras.evaluation import parity
from ds_keras.experiments.config import Experiment
from ds_keras.models.vit import DSViT
from ds_keras.quantization.ranges import CALIBRATION_IMAGES
from ds_keras.runtime import Session
from ds_keras.zoo.cards import render


def quantize_preset(experiment: Experiment, directory: str | os.PathLike, command: str = "") -> dict[str, Any]:
    """Writes a preset's int8 bundle (dynamic int8 for a transformer), its figures and its card.

    Ranges are taken from images of the training part, unaugmented; nothing is chosen on the test images.

    Args:
        experiment: that trained it: its data and its held-out images.
        directory: of the preset; its bundle ``model_int8.dsbundle``, metrics and card are replaced.
        command: for the card.

    Returns:
        {"quantization", "bytes", "float16_bytes", "images", "calibrated_on", "command", "rows": see
        ``parity.compare``}.

    Raises:
        ValueError: no preset there.

    Example:
        >>> quantize_preset(experiment, "zoo/ds_resnet_cifar10")["rows"]
    """
    directory = expanded(directory)
    model, metrics = zoo.load(directory), zoo.metrics(directory, ("licence",))
    sources = data.load(experiment.data)
    quantization, images = "dynamic_int8", None
    if not isinstance(model, DSViT):
        train, _ = experiment.divide(sources)
        chosen = np.random.default_rng(experiment.seed).permutation(len(train))[:CALIBRATION_IMAGES]
        quantization, images = "int8", train.subset(chosen).images(experiment.image_size)
    path = export.to_bundle(model, directory / zoo.INT8_BUNDLE, quantization, images, metrics["licence"])
    test = sources["test"]
    metrics["int8"] = {
        "quantization": quantization,
        "bytes": path.stat().st_size,
        "float16_bytes": zoo.bundle(directory).stat().st_size,
        "images": len(test),
        "calibrated_on": "Needs no calibration." if images is None else f"Ranges of {len(images)} training images.",
        "command": command,
        "rows": parity.compare(model, Session(path), test.images(experiment.image_size), test.labels),
    }
    write_json(directory / zoo.METRICS, metrics)
    write_bytes(directory / zoo.CARD, render(model, metrics).encode())
    return metrics["int8"]
