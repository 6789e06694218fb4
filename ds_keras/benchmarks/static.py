"""Static networks of ``keras.applications`` that cost as much as a level: what a phone would run without levels."""

from typing import Any

import keras
import numpy as np
from absl import logging

from ds_keras.benchmarks import bundle
from ds_keras.export.tflite.convert import convert
from ds_keras.runtime.network import Interpreted
from ds_keras.runtime.session import Session

FAMILIES = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large")
TRIALS = 6  # widths that are tried; channels come in multiples of 8, so that not every cost can be met
CLOSE = 0.02  # of the cost


def madds(network: keras.Model) -> int:
    """Multiply-adds of a plain network's convolutions and dense layers for one image.

    Args:
        network: functional model of plain Keras layers, channels last.

    Returns:
        The number.

    Example:
        >>> madds(keras.applications.MobileNetV2(weights=None))
        300774272
    """
    return sum(_of_layer(layer) for layer in network.layers)


def _of_layer(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Dense):
        return int(np.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.Conv2D):
        places = int(np.prod(layer.output.shape[1:3]))
        return places * int(np.prod(layer.kernel.shape))
    return 0


def matched(
    family: str, target: float, input_shape: tuple[int, int, int], num_classes: int
) -> tuple[keras.Model, float, int]:
    """The network of a family, with random weights, whose multiply-adds are nearest to a number.

    Args:
        family: one of ``FAMILIES``; its width multiplier is searched.
        target: multiply-adds.
        input_shape: (height, width, channels).
        num_classes: of the classifier.

    Returns:
        The network, its width multiplier, its multiply-adds.

    Raises:
        ValueError: unknown family.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {FAMILIES}, received {family!r}")
    width, low, high = 0.5, 0.0, np.inf
    found: list[tuple[keras.Model, float, int]] = []
    for _ in range(TRIALS):
        network = _network(family, width, input_shape, num_classes)
        cost = madds(network)
        found.append((network, width, cost))
        if abs(cost / target - 1) <= CLOSE:
            break
        low, high = (max(low, width), high) if cost < target else (low, min(high, width))
        guess = width * (target / cost) ** 0.5  # convolutions grow with the square of the width
        width = round(guess if low < guess < high else (low + min(high, 2 * low + 0.1)) / 2, 4)
    return min(found, key=lambda trial: abs(trial[2] - target))


def _network(family: str, width: float, input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    images = keras.Input(input_shape, name="images")
    pixels = keras.layers.Rescaling(1 / 127.5, -1.0)(images)
    options: dict[str, Any] = {"include_preprocessing": False} if "V3" in family else {}
    options |= {"weights": None, "classes": num_classes, "classifier_activation": None, "name": family}
    return getattr(keras.applications, family)(input_tensor=pixels, alpha=width, **options)


def beside(session: Session, level: int, family: str, images: np.ndarray, rounds: int = 30) -> dict[str, Any]:
    """A level of a bundle against a static TFLite file of as many multiply-adds.

    Args:
        session: of a bundle of float networks.
        level: of the bundle.
        family: see ``matched``.
        images: (count, height, width, channels) in [0, 255]; each call runs all of them, one by one.
        rounds: pairs.

    Returns:
        The row: see ``benchmarks.bundle.levels``; kind has the width multiplier and the multiply-adds of the static
        network, "madds" the ratio of the level's to them.

    Raises:
        ValueError: unknown family, or a bundle of integers.
    """
    quantization = session.manifest["quantization"]
    if quantization not in (None, "float16"):
        raise ValueError(f"session must be of a bundle of float networks, received one of {quantization!r}")
    spent = float(session.run(images[:1], level=level).madds[0])
    logging.info("%s of %.1f million multiply-adds: searched and converted, half a minute", family, spent / 1e6)
    network, width, cost = matched(family, spent, session.image_shape, session.manifest["num_classes"])
    other = Interpreted(convert(network, quantization), session.num_threads)
    row = bundle.against(family, session, level, other, images, rounds)[0]
    return {**row, "kind": f"{width:g}: {cost / 1e6:.1f}M", "madds": spent / cost}
