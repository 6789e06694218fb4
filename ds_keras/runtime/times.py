"""What the parts of a bundle take on this device, as a session runs them. No TensorFlow."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.policies.base import Times

if TYPE_CHECKING:
    from ds_keras.runtime.session import Session

STAYS = np.zeros(1, "float32")  # the first threshold: no margin is below 0, so a cascade stays at its first level
SMALLEST = np.array([1e9], "float32")  # a shift under which the gate picks the level that costs least


def measure(session: "Session", images: np.ndarray, rounds: int = 30) -> Times:
    """Times the parts of a bundle, each image's in random order.

    So a noisy moment touches all of them, and a part finds the processor's caches as others left them, which is how it
    runs in a mix: again and again, each would look too fast.

    Bodies are timed alone. The start is the time of the cascade's first level through the session, less its body: so
    the session's own work for an image is part of it. The judge is what the same level takes more under the cascade,
    where the confidence follows it, but no other level. The gate is what an image that it sends to the smallest level
    takes more than the start and that level's body.

    Args:
        session: of the bundle.
        images: (count, height, width, channels), checked.
        rounds: times that each part is timed; the median counts.

    Returns:
        ``Times``, milliseconds of one image.

    Raises:
        ValueError: no image, or rounds below 1.
    """
    if not len(images) or type(rounds) is not int or rounds < 1:
        raise ValueError(f"a benchmark needs an image and a round at least, received {len(images)} and {rounds!r}")
    count, first = session.num_levels, session.manifest["policy"]["cascade"][0]
    with session._lock, session._levels.keeping(count + 1):  # else files would be made while others are timed
        smallest = int(session._router.gated(images[:1], SMALLEST).levels[0])
        features = [session._levels.route(image[None])["features"] for image in images]
        networks = [session._levels.body(level) for level in range(count)]
        whole: list[Callable[[Any], Any]] = [
            lambda image: session.run(image[None], level=first),
            lambda image: session._router.cascade(image[None], STAYS),
            lambda image: session._router.gated(image[None], SMALLEST),
        ]
        runs = [*((run, images) for run in whole), *((network, features) for network in networks)]
        times = np.zeros((rounds, len(runs), len(images)))
        rng = np.random.default_rng(0)
        for i, k in np.ndindex(rounds + 1, len(images)):  # one round warms up
            for j in rng.permutation(len(runs)):
                run, inputs = runs[j]
                began = time.perf_counter()
                run(inputs[k])
                times[max(i - 1, 0), j, k] = 1e3 * (time.perf_counter() - began)
    alone, judged, gated, *bodies = np.median(times, axis=(0, 2)).tolist()
    start = alone - bodies[first]
    return Times(start, bodies, max(judged - alone, 0.0), max(gated - bodies[smallest] - start, 0.0))
