"""What the parts of a bundle take on this device, as a session runs them. No TensorFlow."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ds_keras.policies.budget_table import Times
from ds_keras.policies.cascade import Cascade
from ds_keras.policies.gate import Gate
from ds_keras.runtime.router import Router


def measure(router: Router, run_level: Callable[[np.ndarray, int], Any], images: np.ndarray, rounds: int = 30) -> Times:
    """Times the parts of a bundle, each image's in random order.

    So a noisy moment touches all of them, and a part finds the processor's caches as others left them, which is how it
    runs in a mix: again and again, each would look too fast.

    Bodies are timed alone. The start is the time of the cascade's first level as the caller runs it, less its body: so
    the caller's own work for an image is part of it. The judge is what the same level takes more under the cascade,
    where the confidence follows it, but no other level. The gate is what an image that it sends to the smallest level
    takes more than the start and that level's body.

    Args:
        router: of the bundle. No other thread may use it meanwhile.
        run_level: runs (1, height, width, channels) images at a level, with all that the caller does besides.
        images: (count, height, width, channels), checked.
        rounds: times that each part is timed; the median counts.

    Returns:
        ``Times``, milliseconds of one image.

    Raises:
        ValueError: no image, or rounds below 1.
    """
    check_rounds(len(images), rounds)
    spec, levels, gate, cascade = router.spec, router.levels, Gate(router.spec), Cascade(router.spec)
    first = cascade.order[0]
    stays, cheapest = cascade.settings_for(first), gate.settings_for(0)
    with levels.keeping(spec.num_levels + 1):  # else files would be made while others are timed
        smallest = int(router.by_gate(images[:1], gate, cheapest).levels[0])
        features = [levels.route(image[None])["features"] for image in images]
        networks = [levels.body(level) for level in range(spec.num_levels)]
        whole: list[Callable[[Any], Any]] = [
            lambda image: run_level(image[None], first),
            lambda image: router.in_turn(image[None], cascade, stays),
            lambda image: router.by_gate(image[None], gate, cheapest),
        ]
        runs: list[tuple[Callable[[Any], Any], Sequence[Any]]]
        runs = [*((run, list(images)) for run in whole), *((network, features) for network in networks)]
        alone, judged, gated, *bodies = medians(runs, len(images), rounds)
    start = alone - bodies[first]
    return Times(start, bodies, max(judged - alone, 0.0), max(gated - bodies[smallest] - start, 0.0))


def check_rounds(count: int, rounds: int) -> None:
    """Refuses a benchmark of nothing.

    Raises:
        ValueError: no image, or rounds below 1.
    """
    if not count or type(rounds) is not int or rounds < 1:
        raise ValueError(f"a benchmark needs an image and a round at least, received {count} and {rounds!r}")


def medians(runs: Sequence[tuple[Callable[[Any], Any], Sequence[Any]]], count: int, rounds: int) -> list[float]:
    """Times functions on the same images, in random order for each image; one round warms up.

    Args:
        runs: functions, each with its ``count`` inputs.
        count: images.
        rounds: times that each function runs on each image.

    Returns:
        Milliseconds of each function, the median.
    """
    times = np.zeros((rounds, len(runs), count))
    rng = np.random.default_rng(0)
    for i, k in np.ndindex(rounds + 1, count):
        for j in rng.permutation(len(runs)):
            run, inputs = runs[j]
            began = time.perf_counter()
            run(inputs[k])
            times[max(i - 1, 0), j, k] = 1e3 * (time.perf_counter() - began)
    return [float(value) for value in np.median(times, axis=(0, 2))]
