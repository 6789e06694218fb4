"""Timings of an LC-ResNet's file in LiteRT, one image at a time."""

from functools import partial
from typing import Any

import numpy as np

from ds_keras.benchmarks.dynamic import dynamic
from ds_keras.core.timing import paired
from ds_keras.lcnet.export import converted
from ds_keras.lcnet.model import LCResNet
from ds_keras.lcnet.skipping import in_full
from ds_keras.runtime.network import Interpreted


@dynamic.register
def skipping(model: LCResNet, images: np.ndarray, rounds: int = 30, num_threads: int = 1) -> list[dict[str, Any]]:
    """The file that skips, and one that computes everything and multiplies, against the network without predictors.

    Args:
        model: LC-ResNet.
        images: (count, height, width, channels) in [0, 255]; each call runs all of them, one by one.
        rounds: pairs for each row.
        num_threads: of LiteRT.

    Returns:
        Rows: what ("skipping" or "multiplying"), level and kind (""), the fields of ``timing.Paired``, whose times are
        of one image, and madds, the share of the whole network's that these images spend.

    Raises:
        ImportError: ``ai_edge_litert`` is missing.
    """
    ones = np.ones((1, len(model.units)), "float32")
    whole = Interpreted(converted(model, in_full, ones), num_threads)
    share = float(model.run(images).madds.mean() / model.madds)
    rows = []
    for what, data in (("skipping", converted(model)), ("multiplying", converted(model, in_full))):
        network = Interpreted(data, num_threads)
        found = paired(partial(_run, network, images), partial(_run, whole, images), rounds)
        rows.append({"what": what, "level": "", "kind": "", **found.of_one(len(images))._asdict(), "madds": share})
    return rows


def _run(network: Interpreted, images: np.ndarray) -> None:
    for image in images.astype("float32"):
        network(image[None])
