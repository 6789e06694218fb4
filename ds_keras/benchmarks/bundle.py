"""Timings of a bundle in LiteRT, one image at a time, as an app runs it. No TensorFlow."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np

from ds_keras.core.files import replacing
from ds_keras.core.timing import paired
from ds_keras.policies.registry import adjustable, find
from ds_keras.runtime.network import Interpreted
from ds_keras.runtime.session import Session


class Levelled(Protocol):
    """What runs images at levels: a session."""

    num_levels: int

    def run(self, images: Any, level: Any = None) -> Any:
        """Runs (count, height, width, channels) images at a level."""
        ...


def levels(session: Levelled, images: np.ndarray, rounds: int = 30) -> list[dict[str, Any]]:
    """Every level against the largest.

    Args:
        session: of the bundle; or a detector's, see ``Levelled``.
        images: (count, height, width, channels) in [0, 255]; each call runs all of them, one by one.
        rounds: pairs for each row.

    Returns:
        Rows: what, level, kind ("" here), and the fields of ``timing.Paired``, whose times are of one image.
    """
    largest = session.num_levels - 1
    full = partial(session.run, level=largest)
    return [row for k in range(session.num_levels) for row in against("level", session, k, full, images, rounds)]


def routed(session: Session, images: np.ndarray, rounds: int = 30) -> list[dict[str, Any]]:
    """The default policy against the largest level.

    Arguments and rows as ``levels``; kind is the policy, "madds" the ratio of the multiply-adds of these images.
    """
    largest = session.num_levels - 1
    (row,) = against("routed", session, None, partial(session.run, level=largest), images, rounds)
    madds = session.run(images).madds.mean() / session.run(images[:1], level=largest).madds[0]
    return [{**row, "level": "mixed", "kind": str(session.default_policy), "madds": float(madds)}]


def budgets(session: Session, images: np.ndarray, points: int = 5, rounds: int = 30) -> list[dict[str, Any]]:
    """Milliseconds asked of the default policy and spent on images, after ``Session.benchmark``.

    Args:
        session: of a bundle whose budget table has passes; its settings are put back afterwards.
        images: as in ``levels``.
        points: budgets, evenly spaced within what the table reaches.
        rounds: times that each budget is run, in turn; each image's median counts.

    Returns:
        Rows: what, level (the policy), kind (what was asked) and "ms" (what was spent); none where the default policy
        has no such table.
    """
    policy = session.default_policy
    measured = session.budgets.of(policy)
    if not measured or measured[0].passes is None:
        return []
    before, spent = session.settings[policy], session.budgets.milliseconds(policy, session.benchmark(images, rounds))
    asked = np.linspace(spent[0], spent[-1], points + 2)[1:-1]
    times = np.zeros((rounds, points, len(images)))
    try:
        for i in range(-1, rounds):  # one round warms up
            for j, milliseconds in enumerate(asked):
                session.set_budget(milliseconds=milliseconds)
                for k, image in enumerate(images):
                    began = time.perf_counter()
                    session.run(image[None])
                    times[max(i, 0), j, k] = 1e3 * (time.perf_counter() - began)
    finally:
        session.settings[policy] = before
    return [
        {"what": "budget", "level": policy, "kind": f"asked {ms:.4f}", "ms": float(found)}
        for ms, found in zip(asked, np.median(times, axis=0).mean(1), strict=True)
    ]


def materialized(
    session: Session, level: int, direct: bytes, images: np.ndarray, rounds: int = 30
) -> list[dict[str, Any]]:
    """A level's body as the bundle makes it against a direct conversion.

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
    ours, theirs = (Interpreted(data, session.num_threads) for data in (session.bundle.file(f"body_{level}"), direct))
    return [_compared("materialised", level, ours, theirs, features, rounds)]


def against(
    what: str,
    session: Levelled,
    level: int | None,
    other: Callable[[np.ndarray], Any],
    images: np.ndarray,
    rounds: int = 30,
) -> list[dict[str, Any]]:
    """A level against another way to run it.

    Args:
        what: name of the row.
        session: of the bundle.
        level: of the bundle; None for the default policy.
        other: what it is compared with: runs one float32 image (1, height, width, channels).
        images: as in ``levels``.
        rounds: pairs.

    Returns:
        One row.
    """
    return [_compared(what, level, partial(session.run, level=level), other, _one_by_one(images), rounds)]


def routed_to(
    session: Session, level: int, whole: Callable[[np.ndarray], Any], images: np.ndarray, rounds: int = 30
) -> list[dict[str, Any]]:
    """What routing costs beside the level that it ends in: a policy that always picks it, against its static file.

    Args:
        session: of the bundle; its settings are put back afterwards.
        level: of the bundle.
        whole: the level's static file, see ``against``.
        images: as in ``levels``.
        rounds: pairs.

    Returns:
        A row for each policy that has settings under which every image ends at the level: for the gate where the level
        is the smallest or the largest, for the cascade where it is its first.
    """
    rows, before = [], dict(session.settings)
    try:
        for policy in adjustable():
            fixed = find(policy, session.spec).settings_for(level)
            if fixed is not None:
                session.settings[policy] = fixed
                ours = partial(session.run, policy=policy)
                rows.append(_compared(f"{policy} / file", level, ours, whole, _one_by_one(images), rounds))
    finally:
        session.settings.update(before)
    return rows


def xnnpack(session: Session, images: np.ndarray, rounds: int = 30) -> list[dict[str, Any]]:
    """The largest level's body as LiteRT runs it against the same without XNNPACK: a ratio near 1 means that it is off.

    Arguments and rows as ``levels``.
    """
    level = session.num_levels - 1
    features = [session.features(image) for image in images]
    data = session.bundle.file(f"body_{level}")
    ours, plain = Interpreted(data, session.num_threads), Interpreted(data, session.num_threads, delegates=False)
    return [_compared("XNNPACK", level, ours, plain, features, rounds)]


def plot(rows: list[dict[str, Any]], path: str | os.PathLike) -> None:
    """Draws milliseconds of an image at every level and under the default policy.

    Args:
        rows: of ``levels`` and ``routed``; others are left out.
        path: of the picture; its ending says the format.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a plot needs matplotlib: pip install 'ds_keras[report]'") from error
    chosen = [row for row in rows if row["what"] in ("level", "routed")]
    names = [f"level {row['level']}" if row["what"] == "level" else f"routed ({row['kind']})" for row in chosen]
    figure = Figure(figsize=(6, 0.45 * len(chosen) + 1.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [row["a_ms"] for row in chosen], color="0.55")
    axes.bar_label(bars, [f"{row['a_ms']:.3f} ms, {row['ratio']:.2f} of the largest" for row in chosen], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.6)
    axes.set_xlabel("milliseconds for an image (median)")
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _one_by_one(images: np.ndarray) -> list[np.ndarray]:
    return list(images.astype("float32")[:, None])


def _compared(what: str, level: Any, ours: Callable, theirs: Callable, inputs: list, rounds: int) -> dict[str, Any]:
    """The row of two ways to run inputs, one after another; its times are of one input."""

    def run(function: Callable[[np.ndarray], Any]) -> None:
        for x in inputs:
            function(x)

    found = paired(lambda: run(ours), lambda: run(theirs), rounds)
    return {"what": what, "level": level, "kind": "", **found.of_one(len(inputs))._asdict()}
