"""What a report is made of: one pass over the images, the time of a bundle's parts, the log of a run."""

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.core.files import expanded, parse_json, read_json, read_limited
from ds_keras.core.levels import require_levels
from ds_keras.policies.budget_table import Times
from ds_keras.policies.registry import find
from ds_keras.routing import replay as curves
from ds_keras.routing.execute import routing_spec

WHERE = {"wasm": "", "webgpu": ", on its graphics processor"}  # a page computes

if TYPE_CHECKING:
    from ds_keras.data import Source
    from ds_keras.models.supernet import Supernet

MAX_LOG = 64 << 20  # bytes of a run's log


class Facts:
    """What the sections draw on.

    Args:
        model: supernet with a budget table.
        card: of ``zoo.card``; {} where there is no preset.
        source: labelled images of the model's classes.
    """

    def __init__(self, model: "Supernet", card: dict[str, Any], source: "Source"):
        require_levels(model)
        self.model, self.card, self.source = model, card, source
        self.images = source.images(model.image_shape[:2])
        self.labels = np.asarray(source.labels)
        self.names = [str(name) for name in model.labels or source.class_names]
        self.predictions = curves.score(model, self.images, self.labels)
        self.temperatures = card.get("temperatures")
        self.curves = curves.curves(model, self.predictions, self.temperatures)
        self.routed = curves.route(model, self.predictions)
        self.correct = self.routed.logits.argmax(1) == self.labels

    @functools.cached_property
    def largest(self) -> float:
        """MAdds of the largest level."""
        return float(routing_spec(self.model).largest)


def time_bundle(facts: Facts, path: Any, rounds: int, count: int = 200) -> dict[str, Any]:
    """Milliseconds of a bundle's parts, and of the default policy as it runs.

    Args:
        facts: of the same model.
        path: of the bundle.
        rounds: timings of each.
        count: images, at most.

    Returns:
        {"times": ``policies.Times``, "routed", "composed", "largest": milliseconds of one image, "images": how many}.

    Raises:
        ValueError: not a bundle, or one of another model or budget table.
        ImportError: LiteRT is missing.
    """
    from ds_keras.benchmarks import bundle as benchmark
    from ds_keras.runtime import Session

    session, model = Session(path, num_threads=1, keep=1000), facts.model
    policy = session.manifest["policy"]
    routes = policy["default"], tuple(policy["cascade"]), policy["budget_table"]  # the table is measured: no two alike
    if routes != (model.default_policy, model.cascade, model.budget_table):
        raise ValueError(f"bundle must be of {model.name!r} as it is now, received one that routes by another table")
    chosen = np.random.default_rng(0).permutation(len(facts.images))[:count]
    images = facts.images[chosen]
    times = session.benchmark(images, rounds)
    (row,) = benchmark.routed(session, images, rounds)
    passes = curves.passes(model, facts.predictions)[chosen].mean(0)
    return {
        "times": times,
        "composed": float(times.of(passes, model.default_policy)),
        "routed": row["a_ms"],
        "largest": row["b_ms"],
        "images": len(images),
    }


def read_device(facts: Facts, path: Any) -> dict[str, Any]:
    """Milliseconds that a page of ``ds-keras web`` measured, on a phone for one.

    Args:
        facts: of the same model.
        path: of the figures that the page saved.

    Returns:
        {"times": ``policies.Times``, "device": its browser, "images": how many were shown to the page, and of these
        the "policy", and "routed" and "largest" in milliseconds of one image}.

    Raises:
        ValueError: not such a file, or figures of another model.
    """
    try:
        figures = read_json(expanded(path))
        if (figures["format"], figures["format_version"]) != ("ds_keras.device", 1):
            raise ValueError(f"format {figures['format']!r}, version {figures['format_version']!r}")
        times, routed = Times(**figures["times"]), figures["routed"] or {"images": 0, "ms": 0, "largest_ms": 0}
        numbers = [times.start, *times.bodies, times.judge, times.gate, routed["ms"], routed["largest_ms"]]
        if not all(math.isfinite(ms) and ms >= 0 for ms in numbers):
            raise ValueError(f"milliseconds {numbers}")
        found = {
            "times": times,
            "device": str(figures["device"]["browser"]) + WHERE[figures.get("runtime", {}).get("accelerator", "wasm")],
            "images": int(routed["images"]),
            "policy": figures["policy"]["name"],
            "routed": routed["ms"],
            "largest": routed["largest_ms"],
        }
        costs = [row["madds"] for row in figures["levels"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"device must be what a page of ds-keras web saved, {path} is not: {error!r}") from None
    spec = routing_spec(facts.model)
    own = [spec.start + body for body in spec.bodies]
    if costs != own or len(times.bodies) != len(own):
        raise ValueError(f"device must be of {facts.model.name!r}, whose levels cost {own}; those of {path}: {costs}")
    return found


def read_log(path: Any) -> dict[str, list[dict[str, Any]]]:
    """The log of a run: JSON lines, one an epoch.

    Args:
        path: of ``metrics.jsonl``.

    Returns:
        {stage: lines in order}.

    Raises:
        ValueError: no such file, or a line that is not of a run.
    """
    stages: dict[str, list[dict[str, Any]]] = {}
    for number, text in enumerate(read_limited(path, MAX_LOG).splitlines(), 1):
        try:
            line = parse_json(text)
            values = {key: float(value) for key, value in line.items() if key != "stage"}
            stages.setdefault(str(line["stage"]), []).append({**values, "step": int(line["step"])})
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path}, line {number} is not of a run's log: {error!r}") from None
    return stages


def policy_name(model: "Supernet") -> str:
    """The default policy in words."""
    return find(model.default_policy, routing_spec(model)).describe()


def mega(madds: float) -> str:
    """Multiply-adds in millions."""
    return f"{madds / 1e6:.3f}"


def two(value: float | None) -> str | None:
    """Two decimals; None stays None."""
    return None if value is None else f"{value:.2f}"
