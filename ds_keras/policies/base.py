"""The words of routing that need no TensorFlow: policies, their result, confidence, the knobs that meet a budget."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Policy = str | int
POLICIES = ("gate", "cascade", "random", "oracle")
LEARNED = ("gate", "cascade")  # those that need nothing but the image, and have knobs for a budget
BELONGS = {"mix": ("random",), "seed": ("random",), "labels": ("oracle",), "knobs": LEARNED}
NO_TABLE = "the model has no budget table: run ds_keras.routing.measure_budget(model, images, labels) first"
NO_PASSES = (
    "the budget table lacks the passes of each level, which milliseconds need: run "
    "ds_keras.routing.budget.measure_passes(model, images) or measure_budget, and export the bundle again"
)
FEW = 30  # classes up to which Python finds the margin of one image faster than numpy
ABOUT = {  # the policies that are compared
    "static": "fixed levels, interpolated between neighbours (which equals drawing one of the two at random)",
    "random": "the smallest or the largest level, drawn whatever the image",
    "gate": "the learned gate, its shift swept",
    "cascade": "the preset's own cascade, at the thresholds of its budget table",
    "pair, probability": "smallest level first, then the largest where the largest probability is low",
    "pair, temperature": "the same with the temperature that fits the held-out images",
    "pair, margin": "the same by the margin of the two best classes",
    "pair, entropy": "the same by entropy",
    "oracle": "the cheapest right level, which needs the label",
}


class Routed(NamedTuple):
    """Result of a routed run, in the order of the images.

    Args:
        logits: (batch, classes) float32.
        levels: (batch,) int32, the level that gave the logits.
        madds: (batch,) float32, multiply-adds of all that ran for the image.
    """

    logits: Any
    levels: Any
    madds: Any


class Times(NamedTuple):
    """What the parts of a bundle take on a device, in milliseconds for an image that is run alone.

    Args:
        start: what every image pays besides the bodies: the shared start, and the caller's own work.
        bodies: (levels,) of each level's body.
        judge: what a pass of a cascade takes besides its body: the confidence, and the choice that follows from it.
        gate: what the gate takes besides start and body: its own layers, and a second call of LiteRT.
    """

    start: float
    bodies: Sequence[float]
    judge: float = 0.0
    gate: float = 0.0

    def of(self, passes: Any, policy: Policy) -> Any:
        """Milliseconds of an image.

        Args:
            passes: (..., levels) how often each body runs.
            policy: "gate", "cascade", or another, which takes neither's time.

        Returns:
            (...) float64.
        """
        bodies = np.asarray(self.bodies) + self.judge * (policy == "cascade")
        return self.start + self.gate * (policy == "gate") + np.asarray(passes, "float64") @ bodies


def check_policy(policy: Any, num_levels: int, allowed: tuple[str, ...] = LEARNED) -> Policy:
    """Checks the name of a policy, or a fixed level.

    Args:
        policy: see ``allowed``, or an integer level.
        num_levels: of the model.
        allowed: names that fit here.

    Returns:
        The policy; a level as an int.

    Raises:
        ValueError: anything else.
    """
    if isinstance(policy, str) and policy in allowed:
        return policy
    if _is_level(policy, num_levels):
        return int(policy)
    raise ValueError(f"policy must be one of {allowed} or an integer level in [0, {num_levels}), received {policy!r}")


def check_fixed_level(level: Any, num_levels: int) -> int:
    """Checks a level.

    Args:
        level: Python or numpy integer.
        num_levels: of the model.

    Returns:
        The level as an int.

    Raises:
        ValueError: something else, or no such level.
    """
    if not _is_level(level, num_levels):
        hint = "; policies are given as policy=" if isinstance(level, str) and level in POLICIES else ""
        raise ValueError(f"level must be an integer in [0, {num_levels}), received {level!r}{hint}")
    return int(level)


def _is_level(level: Any, num_levels: int) -> bool:
    return isinstance(level, int | np.integer) and not isinstance(level, bool) and 0 <= level < num_levels


def check_belongs(policy: Policy, **given: Any) -> None:
    """Refuses arguments that a policy does not read.

    Args:
        policy: checked.
        **given: "mix", "seed", "labels", "knobs": None where they are not given.

    Raises:
        ValueError: one is given that belongs to another policy.
    """
    for name, value in given.items():
        if value is not None and policy not in BELONGS[name]:
            owners = " or ".join(map(repr, BELONGS[name]))
            raise ValueError(f"{name} belongs to policy {owners}, received {name}={value!r} with policy={policy!r}")


def draw_levels(mix: Any, levels: int, count: int, seed: int | None) -> np.ndarray:
    """Levels of the "random" policy.

    Args:
        mix: (levels,) probabilities; None for equal ones.
        levels: of the model.
        count: images.
        seed: of the draw.

    Returns:
        (count,) int32.

    Raises:
        ValueError: not such probabilities.
    """
    p = np.full(levels, 1 / levels) if mix is None else np.asarray(mix, "float64")
    if p.shape != (levels,) or not np.all(p >= 0) or not np.isclose(p.sum(), 1, atol=1e-6):
        raise ValueError(f"mix must hold {levels} probabilities that add up to 1, received {mix!r}")
    return np.random.default_rng(seed).choice(levels, count, p=p / p.sum()).astype("int32")


def check_chain(chain: Any, levels: int, name: str = "cascade") -> tuple[int, ...]:
    """Checks a choice of levels, those of a cascade for one.

    Args:
        chain: what is asked for.
        levels: of the model.
        name: of the argument, for the error.

    Returns:
        The chain.

    Raises:
        ValueError: not two levels or more, smaller ones first.
    """
    plain = isinstance(chain, Sequence) and len(chain) >= 2 and all(type(k) is int for k in chain)
    if not plain or list(chain) != sorted(set(chain)) or not 0 <= chain[0] <= chain[-1] < levels:
        raise ValueError(f"{name} must be two or more levels in [0, {levels}), smaller ones first, received {chain!r}")
    return tuple(chain)


def margin(logits: np.ndarray) -> Any:
    """The confidence of a cascade: the largest probability less the second.

    Args:
        logits: (..., classes) float32.

    Returns:
        (...) float32 in [0, 1]; of a single row a number.
    """
    ranked = logits.T.copy()  # classes first
    ranked.partition(-2, 0)
    if ranked.ndim == 1 and len(ranked) <= FEW:
        *_, second, best = numbers = ranked.tolist()
        return (1 - math.exp(second - best)) / sum([math.exp(x - best) for x in numbers])
    powers = np.exp(ranked - ranked[-1])
    return ((1 - powers[-2]) / np.add.reduce(powers)).T


def knobs_at(
    table: dict[str, list],
    policy: Policy,
    largest: float,
    fraction: float | None = None,
    madds: float | None = None,
    milliseconds: float | None = None,
    times: Times | None = None,
) -> np.ndarray:
    """The knobs that meet an average cost, from a budget table; what is more than all of it costs meets its last row.

    Args:
        table: see ``ds_keras.routing.measure_budget``.
        policy: "gate" or "cascade".
        largest: MAdds of the largest level.
        fraction: average MAdds as a fraction of the largest level's; or
        madds: average MAdds; or
        milliseconds: average time of an image that is run alone, with
        times: of the device's parts.

    Returns:
        (knobs,) float32: the gate's shift, or the cascade's thresholds.

    Raises:
        ValueError: no table, not exactly one budget, or one out of reach (the error names the least).
    """
    rows = budget_rows(table, policy, fraction, madds, milliseconds)
    if milliseconds is not None:
        wanted, costs = float(milliseconds), row_times(rows, policy, times)
    else:
        wanted = float(madds) if fraction is None else float(fraction) * largest
        costs = np.array([row[1] for row in rows])
    low = costs[0]
    slack = 1e-6 * (largest if milliseconds is None else costs[-1])
    if not low - slack <= wanted:
        asked, least = f"{wanted:.3f} ms", f"{low:.3f} ms"
        if milliseconds is None:
            asked = f"{wanted / 1e6:.3f} MMAdds ({wanted / largest:.3f} of the largest level)"
            least = f"{low / 1e6:.3f} MMAdds, a fraction of {low / largest:.3f}"
        raise ValueError(f"a budget of {asked} is out of reach of policy {policy!r}: it must be at least {least}")
    settings = np.array([row[0] for row in rows])
    return np.array([np.interp(wanted, costs, column) for column in settings.T], "float32")


def budget_rows(
    table: dict[str, list],
    policy: Policy,
    fraction: float | None = None,
    madds: float | None = None,
    milliseconds: float | None = None,
) -> Sequence:
    """The rows of a budget table that a budget is looked up in.

    Args:
        table: see ``ds_keras.routing.measure_budget``.
        policy: "gate" or "cascade".
        fraction: a budget, or
        madds: a budget, or
        milliseconds: a budget, which the rows must have passes for.

    Returns:
        The policy's rows.

    Raises:
        ValueError: another policy, not exactly one budget, one that is no number, or no such rows.
    """
    if policy not in LEARNED:
        raise ValueError(f"a budget needs a policy of {LEARNED}, received {policy!r}")
    given = {"fraction": fraction, "madds": madds, "milliseconds": milliseconds}
    if sum(value is not None for value in given.values()) != 1:
        raise ValueError(f"give exactly one of {', '.join(given)}, received {given}")
    (name, value), *_ = ((name, value) for name, value in given.items() if value is not None)
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        raise ValueError(f"{name} must be a number, received {value!r}")
    rows: Sequence = table.get(policy, ())
    if not rows:
        raise ValueError(NO_TABLE)
    if milliseconds is not None and any(len(row) < 4 for row in rows):
        raise ValueError(NO_PASSES)
    return rows


def row_times(rows: Sequence, policy: Policy, times: Times | None) -> np.ndarray:
    """What every row of a policy's budget table takes on a device.

    Args:
        rows: of the policy, with passes.
        policy: "gate" or "cascade".
        times: of the device's parts.

    Returns:
        (rows,) milliseconds, never falling: a row that the device runs faster than a cheaper one counts as slow.

    Raises:
        ValueError: no times, or those of another number of levels.
    """
    if not isinstance(times, Times):
        raise ValueError(f"milliseconds needs times, those of ds_keras.runtime.Session.benchmark, received {times!r}")
    if len(times.bodies) != len(rows[0][3]):
        raise ValueError(f"times must have {len(rows[0][3])} bodies, one for each level, received {times!r}")
    return np.maximum.accumulate(times.of([row[3] for row in rows], policy))
