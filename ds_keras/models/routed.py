"""What a supernet can do with routing: route, predict a set, keep to a budget."""

import functools
import itertools
import json
from typing import Any

import tensorflow as tf

from ds_keras.core import cost
from ds_keras.core.visitor import Compute
from ds_keras.policies.base import Times, check_chain
from ds_keras.routing import execute as routing
from ds_keras.routing.budget import knobs_for, set_budget

FIRST_THRESHOLD = 0.5  # of every step of a cascade, until it is measured


class RoutedInference:
    """Methods of ``Supernet`` that route; the work is in ``ds_keras.routing``."""

    @property
    def budget_table(self) -> dict[str, list]:
        """What every setting of a policy's knobs cost and scored: see ``ds_keras.routing.measure_budget``."""
        return self.__dict__.get("_plain_budget_table", {})

    @budget_table.setter
    def budget_table(self, table: dict[str, list]) -> None:
        count = len(self.levels)
        if not isinstance(table, dict) or not all(_is_table(rows, count) for rows in table.values()):
            raise ValueError(
                "budget_table must map names to rows [knobs, MAdds, accuracy] by rising MAdds, with or without a last "
                f"column of the passes of {count} levels, received {table!r}"
            )
        # A plain copy, kept from Keras, which would wrap it in containers that tie it to this model.
        self.__dict__["_plain_budget_table"] = json.loads(json.dumps(table))

    @property
    def cascade(self) -> tuple[int, ...]:
        """Levels of the cascade, smaller ones first.

        Another chain drops the budget table's rows and the thresholds of the one before;
        ``measure_budget(..., cascade=chain)`` makes its rows.
        """
        return self._cascade

    @cascade.setter
    def cascade(self, chain: tuple[int, ...]) -> None:
        chain = check_chain(chain, len(self.levels))
        if chain != getattr(self, "_cascade", chain):
            self.budget_table = {name: rows for name, rows in self.budget_table.items() if name != "cascade"}
            if self.built:
                self.cascade_thresholds.assign(tf.fill(self.cascade_thresholds.shape, FIRST_THRESHOLD))
        self._cascade = chain
        self._forget_graphs()

    @property
    def default_policy(self) -> routing.Policy:
        """How ``model(x)`` routes: "gate", "cascade", or a level."""
        return self._default_policy

    @default_policy.setter
    def default_policy(self, policy: routing.Policy) -> None:
        self._default_policy = routing.check_policy(policy, len(self.levels))
        self._forget_graphs()

    def _forget_graphs(self) -> None:
        """What was traced routes as the model did then: trace again."""
        self.__dict__.pop("graphs", None)
        self.predict_function = self.test_function = None

    @functools.cached_property
    def costs(self) -> tuple[cost.Parts, ...]:
        """MAdds of the shared start, the gate and the body, for every level."""
        return tuple(cost.parts(self, level) for level in self.levels)

    @functools.cached_property
    def graphs(self) -> dict[str, Any]:
        """The graphs of ``predict_routed``."""
        return routing.compile_runs(self)

    def route(self, x: Any) -> tf.Tensor:
        """The gate's logits with the budget shift; their argmax is the level.

        Args:
            x: (batch, height, width, channels) images in [0, 255].

        Returns:
            (batch, levels) float32.
        """
        self.build()
        visitor = Compute(0)
        _, features = self.start(visitor, self.check_images(x))
        return routing.shifted(self, self.gate(visitor, features))

    def predict_routed(
        self,
        x: Any,
        policy: routing.Policy | None = None,
        budget: float | None = None,
        labels: Any = None,
        mix: Any = None,
        seed: int | None = None,
        batch_size: int = 256,
    ) -> routing.Routed:
        """Routes and runs a set of images.

        Args:
            x: (count, height, width, channels) images in [0, 255].
            policy: "gate", "cascade", "random", "oracle" or a level; default ``default_policy``.
            budget: average MAdds as a fraction of the largest level's, for this call only ("gate" and "cascade").
            labels: (count,) integer classes, for "oracle".
            mix: (levels,) probabilities, for "random"; default equal.
            seed: of "random".
            batch_size: images at a time.

        Returns:
            ``Routed(logits, levels, madds)`` of numpy arrays.

        Raises:
            ValueError: unknown policy, or an argument that the policy needs or cannot use.

        Example:
            >>> model.predict_routed(images, policy="cascade", budget=0.4).madds.mean()
        """
        policy = self.default_policy if policy is None else policy
        knobs = None if budget is None else knobs_for(self, policy, fraction=budget)
        return routing.predict_routed(self, x, policy, knobs, labels, mix, seed, batch_size)

    def set_budget(
        self,
        fraction: float | None = None,
        madds: float | None = None,
        policy: routing.Policy | None = None,
        milliseconds: float | None = None,
        times: Times | None = None,
    ) -> None:
        """Sets the average cost to aim at: see ``ds_keras.routing.set_budget``."""
        set_budget(self, fraction, madds, policy, milliseconds, times)


def _is_table(rows: Any, levels: int) -> bool:
    plain = isinstance(rows, list) and all(
        isinstance(row, list)
        and len(row) in (3, 4)
        and isinstance(row[0], list)
        and all(isinstance(v, int | float) for v in (*row[0], *row[1:3]))
        and all(isinstance(p, list) and len(p) == levels and all(type(v) in (int, float) for v in p) for p in row[3:])
        for row in rows
    )
    return plain and all(row[1] <= following[1] for row, following in itertools.pairwise(rows))  # NaN is not
