"""Timings of a bundle in LiteRT, one image at a time, as an app runs it. No TensorFlow."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.runtime.session import Network, Session
from ds_keras.timing import paired


def levels(session: Session, images: np.ndarray, rounds: int = 30) -> list[dict[str, Any]]:
    """Route and body of every level against those of the largest.

    Args:
        session: of the bundle.
        images: (count, height, width, channels) in [0, 255]; each call runs all of them, one by one.
        rounds: pairs for each row.

    Returns:
        Rows: what, level, kind ("" here), and the fields of ``timing.Paired``, whose times are of one image.
    """
    largest = session.num_levels - 1
    return [
        _row("level", k, session, images, {"level": k}, {"level": largest}, rounds) for k in range(session.num_levels)
    ]


def routed(session: Session, images: np.ndarray, rounds: int = 30) -> list[dict[str, Any]]:
    """The default policy against the largest level. Arguments and rows as ``levels``; kind is the policy."""
    largest = session.num_levels - 1
    row = _row("routed", "mixed", session, images, {}, {"level": largest}, rounds)
    return [{**row, "kind": str(session.default_policy)}]


def parts(session: Session, images: np.ndarray, rounds: int = 30) -> tuple[float, list[float]]:
    """Milliseconds of what every policy is made of: the route (shared start and gate), and each level's body.

    Args:
        session: of the bundle.
        images: (count, height, width, channels) in [0, 255], run one by one.
        rounds: times that each part is timed, in turn; the median counts.

    Returns:
        The route's, and (levels,) the bodies'; of one image.
    """
    features = [session.features(image) for image in images]
    bodies = [Network(session.bundle.level(level), session.num_threads) for level in range(session.num_levels)]
    runs = [(session.features, images), *((body, features) for body in bodies)]
    times = np.zeros((rounds, len(runs)))
    for i in range(-1, rounds):  # one round warms up
        for j, (run, inputs) in enumerate(runs):
            began = time.perf_counter()
            for x in inputs:
                run(x)
            times[max(i, 0), j] = _since(began) / len(images)
    route, *levels = np.median(times, axis=0).tolist()
    return route, levels


def materialized(
    session: Session, level: int, direct: bytes, images: np.ndarray, rounds: int = 30
) -> list[dict[str, Any]]:
    """A level's file as the bundle makes it against a direct conversion of the same body.

    Args:
        session: of the bundle.
        level: of the bundle.
        direct: TFLite file, features to logits.
        images: as in ``levels``.
        rounds: pairs.

    Returns:
        One row.
    """
    features = [session.features(image) for image in images]
    ours, theirs = (Network(data, session.num_threads) for data in (session.bundle.level(level), direct))

    def run(network: Network) -> None:
        for x in features:
            network(x)

    found = paired(lambda: run(ours), lambda: run(theirs), rounds)
    return [_scaled("materialised", level, found, len(images))]


def load(path: str | os.PathLike, num_threads: int = 1) -> list[dict[str, Any]]:
    """Milliseconds to open a bundle, to make and open each level, and to open it from the cache.

    Args:
        path: of the bundle.
        num_threads: of LiteRT.

    Returns:
        Rows: what, level, kind, and "ms" (one measurement each: what a user waits once).
    """
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for kind in ("first start", "from the cache"):
            began = time.perf_counter()
            session = Session(path, num_threads, Path(cache))
            rows.append({"what": "open", "level": "route", "kind": kind, "ms": _since(began)})
            for level in range(session.num_levels):
                began = time.perf_counter()
                session.open(level)
                rows.append({"what": "open", "level": level, "kind": kind, "ms": _since(began)})
    return rows


def _since(began: float) -> float:
    return 1e3 * (time.perf_counter() - began)


def _row(what: str, level: Any, session: Session, images: np.ndarray, a: dict, b: dict, rounds: int) -> dict[str, Any]:
    def run(arguments: dict) -> None:
        for image in images:
            session.run(image[None], **arguments)

    return _scaled(what, level, paired(lambda: run(a), lambda: run(b), rounds), len(images))


def _scaled(what: str, level: Any, found: Any, count: int) -> dict[str, Any]:
    one = found._replace(a_ms=found.a_ms / count, b_ms=found.b_ms / count)
    return {"what": what, "level": level, "kind": "", **one._asdict()}
