"""Timings of networks without levels, whose file decides by itself what runs for an image."""

import functools
from typing import Any

import numpy as np


@functools.singledispatch
def dynamic(model: Any, images: np.ndarray, rounds: int = 30, num_threads: int = 1) -> list[dict[str, Any]]:
    """The one file of a network in LiteRT against the whole network. Types of network register their own.

    Args:
        model: network without slice levels.
        images: (count, height, width, channels) in [0, 255]; each call runs all of them, one by one.
        rounds: pairs for each row.
        num_threads: of LiteRT.

    Returns:
        Rows: what, level, kind, the fields of ``timing.Paired``, whose times are of one image, and madds, the share of
        the whole network's that these images spend.

    Raises:
        ValueError: a type of network that has no such file.
        ImportError: ``ai_edge_litert`` is missing.
    """
    raise ValueError(
        f"model must be a network without slice levels, received {type(model).__name__}: supernets are measured by "
        "ds_keras.benchmarks.supernet and ds_keras.benchmarks.bundle"
    )
