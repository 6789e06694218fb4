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

from ds_keras import moved

__version__ = "0.1.0"

_ROOMS = (
    "benchmarks",
    "cli",
    "convert",
    "core",
    "data",
    "detection",
    "evaluation",
    "experiments",
    "export",
    "layers",
    "lcnet",
    "models",
    "photos",
    "policies",
    "quantization",
    "report",
    "routing",
    "runtime",
    "training",
    "zoo",
)
__all__ = ["__version__", "cost", *_ROOMS]

if TYPE_CHECKING:
    from ds_keras import (
        benchmarks,
        cli,
        convert,
        core,
        data,
        detection,
        evaluation,
        experiments,
        export,
        layers,
        lcnet,
        models,
        photos,
        policies,
        quantization,
        report,
        routing,
        runtime,
        training,
        zoo,
    )
    from ds_keras.core import cost

moved.install()


def __getattr__(name: str) -> Any:
    if name == "cost":
        return importlib.import_module("ds_keras.core.cost")
    if name in _ROOMS or name in moved.MODULES:
        return importlib.import_module(f"ds_keras.{name}")
    raise AttributeError(f"module 'ds_keras' has no attribute {name!r}; it has {', '.join(__all__[1:])}")


def __dir__() -> list[str]:
    return sorted(__all__)
