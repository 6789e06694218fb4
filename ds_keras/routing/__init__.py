"""Routing in TensorFlow: batches that really slice, policies replayed on logits, budgets."""

from ds_keras.routing.budget import choose_policy, knobs_for, measure_budget, measure_passes, set_budget
from ds_keras.routing.execute import gate_logits, predict_levels, predict_routed, relative_costs, run
from ds_keras.routing.replay import Curve, Scored, curves, fit_temperatures, passes, route, score

__all__ = [
    "Curve",
    "Scored",
    "choose_policy",
    "curves",
    "fit_temperatures",
    "gate_logits",
    "knobs_for",
    "measure_budget",
    "measure_passes",
    "passes",
    "predict_levels",
    "predict_routed",
    "relative_costs",
    "route",
    "run",
    "score",
    "set_budget",
]
