"""The supernet: a network with slice levels that routes each image to one of them, and keeps to a budget.

An architecture adds its table and its blocks.
"""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.levels import SliceLevel
from ds_keras.core.network import FIRST_THRESHOLD, SliceableNetwork
from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.visitor import Compute
from ds_keras.layers.dense import SliceableDense
from ds_keras.policies.base import PolicyName, Routed
from ds_keras.policies.budget_table import BudgetTable, Times
from ds_keras.policies.cascade import Cascade, check_chain
from ds_keras.policies.registry import check_policy
from ds_keras.routing import execute as routing
from ds_keras.routing.budget import set_budget, settings_for
from ds_keras.routing.graph import BatchGraph


class Supernet(SliceableNetwork):
    """Base class of the architectures: levels, and the policies that pick one for each image.

    A subclass writes ``start``, ``gate`` and ``body`` once, for any visitor, and ``get_config``.

    Args:
        levels: the deployable levels, smallest first.
        teacher_level: the level of Stage I's largest pass; ``levels[-1]``, or a wider one.
        num_classes: size of the classifier.
        input_shape: (height, width, channels) of the images. Training takes other heights and widths too.
        default_policy: how ``model(x)`` routes: "gate", "cascade", or a level.
        cascade: levels of the cascade, smaller ones first; default the smallest and the largest.
        budget_table: what the settings of the policies cost and scored, see ``ds_keras.routing.measure_budget``.
        **kwargs: ``mean``, ``std``, ``labels`` and ``name``, see ``ImageModel``.
    """

    def __init__(
        self,
        levels: tuple[SliceLevel, ...],
        teacher_level: SliceLevel,
        num_classes: int,
        input_shape: Sequence[int],
        default_policy: PolicyName = "gate",
        cascade: tuple[int, ...] | None = None,
        budget_table: dict[str, list] | None = None,
        **kwargs: Any,
    ):
        super().__init__(levels, teacher_level, num_classes, input_shape, **kwargs)
        self.cascade = (0, len(self._levels) - 1) if cascade is None else cascade
        self.default_policy = default_policy
        self.budget_table = budget_table or {}

    def make_head(self, count: int, pool: Any = None) -> None:
        """Makes the pool, the dropout of ``self.dropout_rate`` and the classifier, whose output is never sliced.

        Args:
            count: number of levels, the teacher's own included.
            pool: makes the layer from features to (batch, features); default the average over height and width.
        """
        kind = {"name": "pool", "dtype": self.dtype_policy}
        self.pool = keras.layers.GlobalAveragePooling2D(**CHANNELS_LAST, **kind) if pool is None else pool(**kind)
        self.dropout = keras.layers.Dropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)
        # Logits in full precision, under a mixed policy too.
        self.classifier = SliceableDense(
            self.num_classes,
            sizes=[self.num_classes] * count,
            name="classifier",
            dtype=self.dtype_policy.variable_dtype,
        )

    def build(self, input_shape: Any = None) -> None:
        """Creates every weight. Called by the first use; ``input_shape`` is the model's own."""
        if self.built:
            return
        super().build(input_shape)
        # What set_budget sets: saved, read at run time, so that a new budget never retraces.
        plain = {"trainable": False, "dtype": "float32", "autocast": False}
        self.gate_shift = self.add_weight(name="gate_shift", shape=(1,), initializer="zeros", **plain)
        start = keras.initializers.Constant(FIRST_THRESHOLD)
        shape = (len(self._levels) - 1,)  # one for each step of the longest chain
        self.cascade_thresholds = self.add_weight(name="cascade_thresholds", shape=shape, initializer=start, **plain)

    def call(self, x: Any, level: Any = None, training: bool = False) -> tf.Tensor:
        """Logits of one level, or of each image at the level that ``default_policy`` picks.

        Args:
            x: (batch, height, width, channels) images, uint8 or float in [0, 255].
            level: int, scalar integer tensor, ``SliceLevel``, or None for routing.
            training: batch statistics and dropout (needs a level).

        Returns:
            (batch, num_classes) float32.

        Raises:
            ValueError: bad shape or level, or training without a level.
        """
        if level is not None:
            return super().call(x, level, training)
        x = self.check_input(x)
        if training:
            raise ValueError(
                "model(x, training=True) needs a level: train with ds_keras.training.SupernetTrainer (Stage I) "
                "and ds_keras.training.GateTrainer (Stage II)"
            )
        return routing.run(self, x, self.default_policy).logits

    @property
    def budgets(self) -> BudgetTable:
        """The budget table as an object: what each setting of a policy costs and scored."""
        return self.__dict__.get("_budgets", BudgetTable({}))

    @budgets.setter
    def budgets(self, table: BudgetTable) -> None:
        self.__dict__["_budgets"] = table  # past Keras, which would wrap it in containers that tie it to this model

    @property
    def budget_table(self) -> dict[str, list]:
        """The budget table as plain lists, as it is saved: see ``ds_keras.routing.measure_budget``."""
        return self.budgets.to_json()

    @budget_table.setter
    def budget_table(self, table: dict[str, list]) -> None:
        self.budgets = BudgetTable.from_json(table, len(self._levels), self.cascade)

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
            self.budgets = self.budgets.without(Cascade.name)
            if self.built:
                self.cascade_thresholds.assign(tf.fill(self.cascade_thresholds.shape, FIRST_THRESHOLD))
        self._cascade = chain
        self._forget_policies()

    @property
    def default_policy(self) -> PolicyName:
        """How ``model(x)`` routes: "gate", "cascade", or a level."""
        return self._default_policy

    @default_policy.setter
    def default_policy(self, policy: PolicyName) -> None:
        self._default_policy = check_policy(policy, len(self.levels))
        self._forget_policies()

    def _forget_policies(self) -> None:
        """What was traced of a policy routes as the model did then: trace again. The levels' graphs stay."""
        if "graphs" in self.__dict__:
            self.graphs["policy"] = routing.compile_policies(self)
        self.predict_function = self.test_function = None

    @functools.cached_property
    def graphs(self) -> dict[str, BatchGraph]:
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
        policy: PolicyName | None = None,
        budget: float | None = None,
        labels: Any = None,
        mix: Any = None,
        seed: int | None = None,
        batch_size: int = 256,
    ) -> Routed:
        """Routes and runs a set of images.

        Args:
            x: (count, height, width, channels) images in [0, 255].
            policy: "gate", "cascade", "random", "oracle" or a level; default ``default_policy``.
            budget: average MAdds as a fraction of the largest level's, at most 1, for this call only ("gate" and
                "cascade").
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
        settings = None if budget is None else settings_for(self, policy, fraction=budget)
        return routing.predict_routed(self, x, policy, settings, labels, mix, seed, batch_size)

    def run_photos(
        self, x: np.ndarray, policy: PolicyName | None = None, budget: float | None = None
    ) -> tuple[Any, Any, Any]:
        """See the base class. Not in a graph: tracing takes longer than running some photos."""
        policy = self.default_policy if policy is None else policy
        settings = None if budget is None else settings_for(self, policy, fraction=budget)
        return routing.run(self, tf.convert_to_tensor(self.image_set(x, len(x))), policy, settings)

    def set_budget(
        self,
        fraction: float | None = None,
        madds: float | None = None,
        policy: PolicyName | None = None,
        milliseconds: float | None = None,
        times: Times | None = None,
    ) -> None:
        """Sets the average cost to aim at: see ``ds_keras.routing.set_budget``."""
        set_budget(self, fraction, madds, policy, milliseconds, times)

    @property
    def settings(self) -> list[keras.Variable]:
        """See the base class."""
        return [self.gate_shift, self.cascade_thresholds]

    def policy_record(self) -> dict[str, Any]:
        """See the base class."""
        return {
            "default": self.default_policy,
            "cascade": list(self.cascade),
            "knobs": {
                "gate": self.gate_shift.numpy().tolist(),
                "cascade": self.cascade_thresholds.numpy()[: len(self.cascade) - 1].tolist(),
            },
            "budget_table": self.budget_table,
        }

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments that every architecture shares."""
        return {
            **super().get_config(),
            "default_policy": self.default_policy,
            "cascade": list(self.cascade),
            "budget_table": self.budget_table,
        }
