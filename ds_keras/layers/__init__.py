"""Sliceable layers: full kernels, cut at call time by a slice ratio or a slice level."""

from typing import Any

from ds_keras import moved
from ds_keras.core.sliceable import SliceableLayer
from ds_keras.layers.attention import SliceableMultiHeadAttention
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.dense import SliceableDense
from ds_keras.layers.depthwise import SliceableDepthwiseConv2D
from ds_keras.layers.gate import DoubleHeadedGate, SlimmingHead
from ds_keras.layers.layer_norm import SliceableLayerNormalization
from ds_keras.layers.tokens import ActiveSlice, FirstToken, Gelu, Regrid, RejoinIdle, SliceablePositionEmbedding

__all__ = [
    "ActiveSlice",
    "DoubleHeadedGate",
    "FirstToken",
    "Gelu",
    "Regrid",
    "RejoinIdle",
    "SliceableBatchNormalization",
    "SliceableConv2D",
    "SliceableDense",
    "SliceableDepthwiseConv2D",
    "SliceableLayer",
    "SliceableLayerNormalization",
    "SliceableMultiHeadAttention",
    "SliceablePositionEmbedding",
    "SlimmingHead",
]


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
