"""The ranges of an int8 network's activations, and the images that they are taken from."""

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from ds_keras.core.visitor import Compute
from ds_keras.quantization.rounding import SMALLEST_RANGE, Range, Rounding

if TYPE_CHECKING:
    from ds_keras.core.network import SliceableNetwork

CALIBRATION_IMAGES = 2048  # more only make a range steadier


class _Observed(Rounding, Compute):
    """Runs the float network, and notes the range of every value that an int8 network rounds."""

    def __init__(self, level: int):
        super().__init__(level)
        self.ranges: dict[str, tf.Tensor] = {}

    def round(self, x: tf.Tensor, name: str, fixed: Range | None) -> tf.Tensor:
        """Keeps the range of ``x``, and leaves it as it is."""
        if fixed is None:
            found = tf.stack([tf.minimum(tf.reduce_min(x), 0.0), tf.reduce_max(x)])
            if name in self.ranges:  # a layer that is visited again
                before = self.ranges[name]
                found = tf.stack([tf.minimum(before[0], found[0]), tf.maximum(before[1], found[1])])
            self.ranges[name] = found
        return x


def activation_ranges(model: "SliceableNetwork", images: Any, batch_size: int = 32) -> list[dict[str, Range]]:
    """The range of every activation that an int8 file rounds, at every level.

    Each batch has its own extremes; a range is their mean over the batches, which a single image moves little.

    Args:
        model: supernet of convolutions.
        images: (count, height, width, channels) in [0, 255], of the kind that the network will see: some hundreds.
        batch_size: images that share their extremes.

    Returns:
        For each level: {name of the point: (lowest, highest)}. What runs before the gate has the same ranges in all.

    Raises:
        ValueError: no images, other shapes, or a layer that int8 does not know.

    Example:
        >>> smallest = activation_ranges(model, images)[0]
        >>> smallest["features"]
        (-0.28, 5.9)
    """
    images = check_calibration_data(model, images)

    @tf.function(autograph=False, reduce_retracing=True)
    def observe(x: tf.Tensor) -> tuple[dict, list[dict]]:
        start = _Observed(0)
        features, gate_features = model.start(start, x)
        joined = model.joined(start, features)
        start.name(joined, "features")  # before the gate reads them, which may read the same value
        start.rounded(model.gate(start, gate_features))
        joined, bodies = start.rounded(joined), []
        for level in range(len(model.levels)):
            visitor = _Observed(level)
            visitor.rounded(model.body(visitor, model.parted(visitor, joined)))
            bodies.append(visitor.ranges)
        return start.ranges, bodies

    batches = [observe(tf.constant(images[i : i + batch_size])) for i in range(0, len(images), batch_size)]
    means = tf.nest.map_structure(lambda *parts: np.mean([part.numpy() for part in parts], axis=0), *batches)
    start, bodies = means
    return [{name: _usable(values) for name, values in {**start, **body}.items()} for body in bodies]


def check_calibration_data(model: "SliceableNetwork", images: Any) -> np.ndarray:
    """The images that ranges are taken from, as float32.

    Args:
        model: supernet.
        images: (count, height, width, channels) in [0, 255].

    Returns:
        The array.

    Raises:
        ValueError: None, no images, or other shapes or values.
    """
    if images is None:
        raise ValueError("calibration_data must be given for quantization='int8': some hundred images, received None")
    images = np.asarray(images)
    numbers = images.dtype.kind in "uif"
    if not numbers or images.ndim != 4 or images.shape[1:] != model.image_shape or not len(images):
        raise ValueError(
            f"calibration_data must be images of shape (count, {', '.join(map(str, model.image_shape))}), "
            f"received {images.dtype} {images.shape}"
        )
    images = images.astype("float32")
    if not np.all(np.isfinite(images)) or images.min() < 0 or images.max() > 255:
        raise ValueError(
            f"calibration_data must lie in [0, 255], received values from {images.min()} to {images.max()}"
        )
    return images


def _usable(values: np.ndarray) -> Range:
    low, high = float(values[0]), float(values[1])
    return low, max(high, low + SMALLEST_RANGE)
