"""Routing in TensorFlow: batches that really slice, policies replayed on logits, budgets."""

from typing import Any

from ds_keras import moved
from ds_keras.routing.budget import choose_policy, fit_budget, measure_budget, measure_passes, set_budget, settings_for
from ds_keras.routing.execute import gate_logits, predict_levels, predict_routed, relative_costs, routing_spec, run
from ds_keras.routing.replay import Curve, Predictions, curves, fit_temperatures, passes, route, score

__all__ = [
    "Curve",
    "Predictions",
    "choose_policy",
    "curves",
    "fit_budget",
    "fit_temperatures",
    "gate_logits",
    "measure_budget",
    "measure_passes",
    "passes",
    "predict_levels",
    "predict_routed",
    "relative_costs",
    "route",
    "routing_spec",
    "run",
    "score",
    "set_budget",
    "settings_for",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
