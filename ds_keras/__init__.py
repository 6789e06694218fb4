"""ds_keras: dynamic slimmable networks for Keras.

A supernet stores every weight once; a slice level is a dense prefix of every kernel; a gate or a
confidence cascade picks the level for each image. Submodules load on first use, so that
``import ds_keras`` does not import TensorFlow.

Example:
    >>> import ds_keras
    >>> model = ds_keras.zoo.load("ds_mobilenet")
    >>> logits = model(images)                        # routed: each image at its own level
    >>> logits = model(images, level=0)               # the smallest sub-network
"""

# ruff: noqa: F401 (imports for type checkers)
import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_SUBMODULES = (
    "budget",
    "confidence",
    "convert",
    "convert_keras",
    "cost",
    "curves",
    "data",
    "evaluation",
    "evaluation_lc",
    "export",
    "layers",
    "models",
    "quantization",
    "report",
    "routing",
    "runtime",
    "slicing",
    "training",
    "zoo",
)
__all__ = ["__version__", *_SUBMODULES]

if TYPE_CHECKING:
    from ds_keras import (
        budget,
        confidence,
        convert,
        convert_keras,
        cost,
        curves,
        data,
        evaluation,
        evaluation_lc,
        export,
        layers,
        models,
        quantization,
        report,
        routing,
        runtime,
        slicing,
        training,
        zoo,
    )


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"ds_keras.{name}")
    raise AttributeError(f"module 'ds_keras' has no attribute {name!r}; it has {', '.join(_SUBMODULES)}")


def __dir__() -> list[str]:
    return sorted(__all__)
