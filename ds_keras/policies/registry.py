"""The policies by name: to find one, to check what a user asked for, and to add one's own."""

from typing import Any

import numpy as np

from ds_keras.policies.base import Policy, PolicyName, RoutingSpec
from ds_keras.policies.cascade import Cascade
from ds_keras.policies.fixed import Fixed
from ds_keras.policies.gate import Gate
from ds_keras.policies.oracle import Oracle
from ds_keras.policies.random import Random

GIVEN = ("mix", "seed", "labels")  # what a caller may have to give besides the images
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
_POLICIES: dict[str, type[Policy]] = {kind.name: kind for kind in (Gate, Cascade, Random, Oracle)}


def register(policy: type[Policy]) -> type[Policy]:
    """Makes a policy known by its name: to models, replay, sessions, budgets and evaluation.

    Args:
        policy: class with a ``name`` of its own; of its caller it may need ``GIVEN``.

    Returns:
        The class, so that this can be a decorator.

    Raises:
        ValueError: a name that is taken, or a need that no caller can meet.

    Example:
        >>> @register
        ... class Careful(Cascade):
        ...     name = "careful"
        ...     settings_weight = None  # nothing that a budget could set
        ...     def continues(self, confidence, step, settings):
        ...         return confidence < 0.99
    """
    if policy.name in _POLICIES:
        raise ValueError(f"name must be one of its own, received {policy.name!r}, a policy's")
    if not set(policy.needs) <= set(GIVEN):
        raise ValueError(f"needs must be some of {GIVEN}, received {policy.needs!r}")
    _POLICIES[policy.name] = policy
    return policy


def unregister(name: str) -> None:
    """Forgets a registered policy.

    Args:
        name: of the policy.

    Raises:
        KeyError: no such policy.
    """
    del _POLICIES[name]


def names(given: tuple[str, ...] = GIVEN) -> tuple[str, ...]:
    """The names of policies.

    Args:
        given: what the caller can give besides the images; () for the policies that need the image alone.

    Returns:
        Names, in the order in which they were registered.
    """
    return tuple(name for name, kind in _POLICIES.items() if set(kind.needs) <= set(given))


def adjustable() -> tuple[str, ...]:
    """The names of the policies that have settings, so that a budget can be met."""
    return tuple(name for name, kind in _POLICIES.items() if kind.settings_weight is not None)


LEARNED = adjustable()  # those of the package; the name is for those who imported it before


def policy_class(policy: PolicyName) -> type[Policy]:
    """The class of a policy: ``Fixed`` for a level."""
    return _POLICIES.get(policy, Fixed) if isinstance(policy, str) else Fixed


def find(policy: PolicyName, spec: RoutingSpec, **given: Any) -> Policy:
    """The object of a policy.

    Args:
        policy: name or level, checked.
        spec: of the network.
        **given: "mix", "seed", "labels", where the caller gave them; None where not.

    Returns:
        The policy.

    Raises:
        ValueError: an argument that belongs to another policy.

    Example:
        >>> find("cascade", RoutingSpec(10, 2, (5, 20, 90), cascade=(0, 2))).order
        (0, 2)
    """
    check_belongs(policy, **given)
    kind = policy_class(policy)
    if kind is Fixed:
        return Fixed(spec, int(policy))
    return kind(spec, **{name: given.get(name) for name in kind.needs})


def check_policy(policy: Any, num_levels: int, allowed: tuple[str, ...] | None = None) -> PolicyName:
    """Checks the name of a policy, or a fixed level.

    Args:
        policy: see ``allowed``, or an integer level.
        num_levels: of the model.
        allowed: names that fit here; default those of the policies that need the image alone.

    Returns:
        The policy; a level as an int.

    Raises:
        ValueError: anything else.
    """
    allowed = names(()) if allowed is None else allowed
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
        hint = "; policies are given as policy=" if isinstance(level, str) and level in _POLICIES else ""
        raise ValueError(f"level must be an integer in [0, {num_levels}), received {level!r}{hint}")
    return int(level)


def _is_level(level: Any, num_levels: int) -> bool:
    return isinstance(level, int | np.integer) and not isinstance(level, bool) and bool(0 <= level < num_levels)


def check_belongs(policy: PolicyName, **given: Any) -> None:
    """Refuses arguments that a policy does not read.

    Args:
        policy: checked.
        **given: "mix", "seed", "labels", "settings": None where they are not given.

    Raises:
        ValueError: one is given that belongs to another policy.
    """
    for name, value in given.items():
        if value is None:
            continue
        owners = adjustable() if name == "settings" else [k for k, kind in _POLICIES.items() if name in kind.needs]
        if policy not in owners:
            raise ValueError(
                f"{name} belongs to policy {' or '.join(map(repr, owners))}, received {name}={value!r} with "
                f"policy={policy!r}"
            )
