"""Figures of a model on labelled images: levels, policies over their whole cost, budgets, parity of files."""

from ds_keras.evaluation.tables import (
    budgets,
    compare,
    equal_cost,
    evaluate,
    evaluate_levels,
    evaluate_preset,
    level_rows,
)

__all__ = ["budgets", "compare", "equal_cost", "evaluate", "evaluate_levels", "evaluate_preset", "level_rows"]
