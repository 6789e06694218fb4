"""Running an exported bundle with LiteRT: numpy and ``ai_edge_litert``, no TensorFlow."""

from ds_keras.policies.base import Routed
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.session import Session

__all__ = ["Bundle", "Routed", "Session"]
