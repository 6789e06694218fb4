"""Which level finds the things on a photo: the cascade of a detector, its budgets, and what they are worth. NumPy only.

The rules are those of ``ds_keras.policies``; what is new is how sure a level is of its boxes.
"""

from ds_keras.detection.routing.cascade import DetectionCascade
from ds_keras.detection.routing.confidence import CONFIDENCES, DEFAULT
from ds_keras.detection.routing.measure import Predictions, compare, fit, predict

__all__ = ["CONFIDENCES", "DEFAULT", "DetectionCascade", "Predictions", "compare", "fit", "predict"]
