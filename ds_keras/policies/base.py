"""What a policy is: which level each image runs at, what it needs to know, and what it costs. numpy alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

PolicyName = str | int  # what users give: the name of a policy, or a level for every image


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


@dataclass(frozen=True)
class RoutingSpec:
    """What a policy knows of the network that it routes: multiply-adds of its parts for one image, and the cascade.

    Args:
        start: of the shared start.
        gate: of the gate.
        bodies: (levels,) of each level's body.
        cascade: levels of the cascade, smaller ones first.
    """

    start: float
    gate: float
    bodies: tuple[float, ...]
    cascade: tuple[int, ...]

    @property
    def num_levels(self) -> int:
        """How many levels there are."""
        return len(self.bodies)

    @property
    def largest(self) -> float:
        """Multiply-adds of the largest level: start and body."""
        return self.start + self.bodies[-1]

    @property
    def relative(self) -> np.ndarray:
        """Cost of each level's body as a fraction of the largest one's: (levels,) float64."""
        bodies = np.array(self.bodies, "float64")
        return bodies / bodies[-1]


class Executor(Protocol):
    """What runs a network for a policy: TensorFlow, LiteRT, or logits that were recorded.

    ``images`` is what the executor runs: images, or the recorded logits. Results are of the executor's own type.
    """

    def at(self, images: Any, levels: Any) -> Any:
        """Runs each image at a known level: ``levels`` is one level for all, or (count,) integers."""

    def by_gate(self, images: Any, policy: "GatePolicy", settings: Any) -> Any:
        """Runs the gate, then each image at the level for which ``policy.scores`` is largest."""

    def in_turn(self, images: Any, policy: "SequentialPolicy", settings: Any) -> Any:
        """Runs the levels of ``policy.order`` one after another, each on the images that ``policy.continues`` names."""


class Policy:
    """Decides which level each image runs at.

    Subclass ``GatePolicy`` or ``SequentialPolicy`` where the network decides, or this class where the levels are known
    before anything runs. ``registry.register`` makes a policy known by its name.

    Args:
        spec: of the network.
        **given: the caller's arguments that the class lists in ``needs``.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # arguments of the caller that it reads: "mix", "seed", "labels"
    settings_weight: ClassVar[str | None] = None  # the model's variable with what a budget sets; None: no budgets
    runs_gate: ClassVar[bool] = False
    judges: ClassVar[bool] = False  # computes a confidence after each body

    def __init__(self, spec: RoutingSpec, **given: Any):
        self.spec = spec
        self.given = given
        self.key: PolicyName = self.name  # what users call it: its name, or a level

    @classmethod
    def num_settings(cls, cascade: tuple[int, ...]) -> int:
        """How many numbers a budget sets: a shift of the gate, thresholds of the cascade; 0 for none."""
        return 0

    @property
    def begins(self) -> tuple[int, ...]:
        """The levels that an image may begin with. Empty where it begins with the gate."""
        return tuple(range(self.spec.num_levels))

    @property
    def follows(self) -> tuple[int, ...]:
        """The levels that may run after the gate, or after another level, on the features of the shared start."""
        return ()

    def describe(self) -> str:
        """The policy in words, as in "routed by ..."."""
        return f"the policy {self.name!r}"

    def assign(self, count: int, logits_by_level: Callable[[], np.ndarray] | None = None) -> np.ndarray | None:
        """The level of each image where it is known before the images run.

        Args:
            count: of the images.
            logits_by_level: gives the (levels, count, classes) logits of all levels, for a policy that compares them.

        Returns:
            (count,) int32, or None where the network decides.

        Raises:
            ValueError: an argument of the caller is missing or does not fit.
        """
        return None

    def run(self, executor: Executor, images: Any, settings: Any = None) -> Any:
        """Runs images.

        Args:
            executor: that runs them.
            images: what it runs.
            settings: (settings,) float32, for the policies that a budget can set.

        Returns:
            The executor's result.
        """
        return executor.at(images, self.assign(len(images)))

    def madds(self, passes: np.ndarray) -> np.ndarray:
        """Multiply-adds of images.

        Args:
            passes: (..., levels) how often each body runs.

        Returns:
            (...) float64.
        """
        return self.spec.start + self.spec.gate * self.runs_gate + passes @ np.array(self.spec.bodies, "float64")

    def settings_for(self, level: int) -> np.ndarray | None:
        """Settings under which every image ends at a level; None where there are none."""
        return None


class GatePolicy(Policy):
    """A policy that reads the gate: each image runs at the level of the largest score."""

    runs_gate = True

    @property
    def begins(self) -> tuple[int, ...]:
        """See the base class."""
        return ()

    @property
    def follows(self) -> tuple[int, ...]:
        """See the base class."""
        return tuple(range(self.spec.num_levels))

    def scores(self, gate_logits: Any, settings: Any) -> Any:
        """Scores of the levels; the largest one is run.

        Args:
            gate_logits: (..., levels) float32, of numpy or TensorFlow: use operators that both have.
            settings: (settings,) float32 likewise.

        Returns:
            (..., levels).
        """
        return gate_logits

    def run(self, executor: Executor, images: Any, settings: Any = None) -> Any:
        """See the base class."""
        return executor.by_gate(images, self, settings)


class SequentialPolicy(Policy):
    """A policy that runs levels one after another, until one suffices."""

    judges = True
    order: tuple[int, ...]  # levels, in the order in which an image meets them

    @property
    def begins(self) -> tuple[int, ...]:
        """See the base class."""
        return self.order[:1]

    @property
    def follows(self) -> tuple[int, ...]:
        """See the base class."""
        return self.order[1:]

    def continues(self, confidence: Any, step: int, settings: Any) -> Any:
        """Whether an image goes on to the next level. Not asked after the last one.

        Args:
            confidence: ``confidence.margin`` of the level's logits: a number, or an array of numpy or TensorFlow.
            step: index of the level in ``order``.
            settings: (settings,) float32.

        Returns:
            bool, or an array of them.
        """
        raise TypeError(f"{type(self).__name__} does not define continues()")

    def run(self, executor: Executor, images: Any, settings: Any = None) -> Any:
        """See the base class."""
        return executor.in_turn(images, self, settings)
