"""Detection: a supernet of convolutions with a head that finds boxes, at every slice level.

Boxes are (x_min, y_min, x_max, y_max) as fractions of the image's width and height, everywhere. Nothing but the command
line imports this room. Names load on first use: ``Session`` needs NumPy, Pillow and LiteRT only.

Example:
    >>> from ds_keras import detection
    >>> sets = detection.load_data("voc:blood_cells")
    >>> model = detection.DSDetector(ds_keras.zoo.load("ds_mobilenet", image_size=(192, 256)), labels=sets.class_names)
"""

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "BoxSource": "data.source",
    "DSDetector": "network",
    "DetectorTrainer": "trainer",
    "Detections": "boxes",
    "Session": "session",
    "average_precision": "evaluation",
    "batches": "data.pipeline",
    "coco": "data",
    "evaluate": "evaluation",
    "load": "presets",
    "load_data": "data",
    "pack": "data",
    "DetectionCascade": "routing.cascade",
    "draw": "boxes",
    "save": "presets",
    "subnet": "export",
    "to_bundle": "export",
    "to_tflite": "export",
    "train": "run",
    "voc": "data",
}
__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from ds_keras.detection.boxes import Detections, draw  # noqa: F401
    from ds_keras.detection.data import coco, load_data, pack, voc  # noqa: F401
    from ds_keras.detection.data.pipeline import batches  # noqa: F401
    from ds_keras.detection.data.source import BoxSource  # noqa: F401
    from ds_keras.detection.evaluation import average_precision, evaluate  # noqa: F401
    from ds_keras.detection.export import subnet, to_bundle, to_tflite  # noqa: F401
    from ds_keras.detection.network import DSDetector  # noqa: F401
    from ds_keras.detection.presets import load, save  # noqa: F401
    from ds_keras.detection.routing.cascade import DetectionCascade  # noqa: F401
    from ds_keras.detection.run import train  # noqa: F401
    from ds_keras.detection.session import Session  # noqa: F401
    from ds_keras.detection.trainer import DetectorTrainer  # noqa: F401


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"ds_keras.detection.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'ds_keras.detection' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
