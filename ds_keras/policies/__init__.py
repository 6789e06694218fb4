"""Policies: which level each image runs at. numpy alone, so that a phone's runtime needs no TensorFlow."""

from ds_keras.policies.base import POLICIES, Policy, Routed, Times, margin

__all__ = ["POLICIES", "Policy", "Routed", "Times", "margin"]
