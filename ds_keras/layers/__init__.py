"""Sliceable layers: full kernels, cut at call time by a slice ratio or a slice level."""

from ds_keras.layers.base import Compute, Shapes, SliceableBlock, SliceableLayer, Walk
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.layers.conv import SliceableConv2D, SliceableDepthwiseConv2D
from ds_keras.layers.dense import SliceableDense
from ds_keras.layers.gate import DoubleHeadedGate, SlimmingHead

__all__ = [
    "Compute",
    "DoubleHeadedGate",
    "Shapes",
    "SliceableBatchNormalization",
    "SliceableBlock",
    "SliceableConv2D",
    "SliceableDense",
    "SliceableDepthwiseConv2D",
    "SliceableLayer",
    "SlimmingHead",
    "Walk",
]
