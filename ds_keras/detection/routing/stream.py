"""A stream of photos through a session: milliseconds that are kept, average precision, and which levels answered."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ds_keras.detection.boxes import Detections, choose, stretched
from ds_keras.detection.evaluation import LEAST, average_precision, check_classes
from ds_keras.detection.routing.cascade import DetectionCascade
from ds_keras.policies.cascade import Cascade
from ds_keras.runtime.times import check_rounds

if TYPE_CHECKING:
    from ds_keras.detection.data.source import BoxSource
    from ds_keras.detection.session import Session

POINTS = 4  # budgets where none are asked for
TIMED = 8  # photos that the parts are timed on


class _Way(NamedTuple):
    """A way to run a photo: at a level, or by a cascade that was asked for so many milliseconds."""

    what: str
    level: int | None = None
    cascade: DetectionCascade | None = None
    asked: float | None = None


def stream(
    session: "Session",
    source: "BoxSource",
    cascade: DetectionCascade | None = None,
    milliseconds: Sequence[float] = (),
    rounds: int = 5,
) -> list[dict[str, Any]]:
    """Runs photos one after another at every fixed level, and by a cascade at budgets in milliseconds.

    Each photo runs in every way in turn, the order alternating from round to round, so that a noisy moment touches all
    ways alike. A time is from the image of the network's size to boxes and scores; the median of a photo's rounds
    counts.

    Args:
        session: of a bundle.
        source: photos with their boxes, other ones than those that the cascade was chosen on.
        cascade: default the bundle's.
        milliseconds: budgets; default some between the smallest and the largest level's time.
        rounds: times that each photo runs in every way.

    Returns:
        Rows {"what", "asked" (None for a level), "ms" (average of a photo), "map50", "map", "mix" (share of the photos
        that each level answered), "static" (mAP@0.5 of fixed levels in the same time, interpolated)}.

    Raises:
        ValueError: no cascade or another detector's, a budget out of reach, rounds below 1, or other classes.
        ImportError: pycocotools is missing.

    Example:
        >>> stream(detection.Session("cells.dsbundle"), sets.test, milliseconds=(10, 20))
    """
    check_classes(session, source)
    check_rounds(len(source), rounds)
    images = [stretched(source.image(i), session.shape) for i in range(len(source))]
    times = session.benchmark(images[:TIMED], cascade)
    found = cascade or session.cascade
    assert found is not None  # benchmark refused it otherwise
    ways = [_Way(f"level {level}", level) for level in session.levels]
    for asked in milliseconds or _budgets(found, times):
        ways.append(_Way("cascade", None, found.at(milliseconds=asked, times=times), float(asked)))
    spent = np.zeros((rounds, len(images), len(ways)))
    results: list[Any] = [[None] * len(images) for _ in ways]
    with session.keeping(len(session.levels)):  # else files would be made while others are timed
        for r, i in np.ndindex(rounds + 1, len(images)):  # one round warms up
            for k in range(len(ways)) if (r + i) % 2 else reversed(range(len(ways))):
                began = time.perf_counter()
                results[k][i] = _run(session, images[i], ways[k])
                spent[max(r - 1, 0), i, k] = 1e3 * (time.perf_counter() - began)
    ms = np.median(spent, axis=0).mean(axis=0)
    rows = [_row(way, float(ms[k]), results[k], source, session) for k, way in enumerate(ways)]
    fixed = sorted(rows[: len(session.levels)], key=lambda row: row["ms"])
    for row in rows:
        row["static"] = float(np.interp(row["ms"], [one["ms"] for one in fixed], [one["map50"] for one in fixed]))
    return rows


def _budgets(cascade: DetectionCascade, times: Any) -> list[float]:
    """Milliseconds within the reach of a cascade, up to those of its last level alone."""
    reach = cascade.budgets.milliseconds(Cascade.name, times)
    most = min(float(reach[-1]), times.start + times.bodies[cascade.spec.cascade[-1]])
    return [float(ms) for ms in np.linspace(reach[0], max(most, float(reach[0])), POINTS + 1)[1:]]


def _run(session: "Session", image: np.ndarray, way: _Way) -> tuple[np.ndarray, np.ndarray, int]:
    """Boxes, scores, and the level that gave them."""
    if way.level is not None:
        return *session.run(image, way.level), way.level
    return session.run_in_turn(image, way.cascade)[:3]


def _row(way: _Way, ms: float, results: list, source: "BoxSource", session: "Session") -> dict[str, Any]:
    found: list[Detections] = [choose(boxes, scores, LEAST) for boxes, scores, _ in results]
    levels = np.array([level for *_, level in results])
    mix = [float(np.mean(levels == level)) for level in session.levels]
    figures = average_precision(found, source.things, source.class_names)
    return {"what": way.what, "asked": way.asked, "ms": ms, "mix": mix, **figures}
