"""int8: kernels with one set of codes for all levels, activations with ranges of their own at every level.

A kernel is rounded before BatchNorm is folded in: code = round(weight / scale), with a scale for each output channel of
the full kernel. A level's codes are then a slice of the stored codes, and its own scales, scale x |BatchNorm factor|,
carry what differs. An activation is rounded where an operator reads it that it is not fused with; ``Rounding`` finds
these points for every visitor, so that training, calibration and export agree.

Source: ours; fake quantisation: arXiv 1712.05877. Sharing the scales is what keeps one int8 payload for all levels.
"""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.visitor import Compute, Shapes, Visitor
from ds_keras.layers import (
    SliceableBatchNormalization,
    SliceableConv2D,
    SliceableDense,
    SliceableDepthwiseConv2D,
    SliceableLayer,
)

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

Range = tuple[float, float]
IMAGES: Range = (0.0, 255.0)
CALIBRATION_IMAGES = 2048  # more only make a range steadier
KERNELS = (SliceableConv2D, SliceableDepthwiseConv2D, SliceableDense)
SAME_SCALE = (  # whose output has the scale of their input
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.MaxPooling2D,
    keras.layers.ZeroPadding2D,
)
SMALLEST_RANGE = 1e-2  # of a value that is always 0: with less, LiteRT cannot scale an operator's sums to its codes
FUSES = (SliceableBatchNormalization, *KERNELS, keras.layers.Add)  # an operator that a ReLU behind it becomes part of
FIXED = {"sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}  # ranges that LiteRT's kernels insist on


class Rounding(Visitor):
    """Finds the values that an int8 network rounds: mixed into a visitor, before it.

    What a layer returns is left open until it is read: BatchNorm and ReLU read the open value of the convolution or
    addition that they are fused with, every other layer the rounded one.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._open: dict[int, list] = {}  # by the id of a value: the value, its name, its layer, what it is rounded to

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The output of ``layer``, open."""
        if isinstance(layer, SliceableLayer) and not isinstance(layer, (*KERNELS, SliceableBatchNormalization)):
            raise ValueError(
                f"int8 knows no {type(layer).__name__} ({layer.name}): convolutions, dense layers and BatchNorm are "
                "quantised; for transformers use quantization='dynamic_int8'"
            )
        if isinstance(x, list):
            x = [self.rounded(part) for part in x]
        elif not self._fused(layer, x):
            x = self.rounded(x)
        y = super().apply(layer, x)
        if not isinstance(layer, SAME_SCALE):
            self._open[id(y)] = [y, layer.name, layer, None]
        return y

    def rounded(self, x: Any) -> Any:
        """``x`` as the next operator reads it; what has been rounded, or never was open, as it is."""
        if id(x) not in self._open:
            return x
        entry = self._open[id(x)]
        if entry[3] is None:
            entry[3] = self.round(x, entry[1], _fixed_range(entry[2]))
        return entry[3]

    def name(self, x: Any, name: str) -> None:
        """Calls an open value by this name, not by its layer's."""
        if id(x) in self._open:
            self._open[id(x)][1] = name

    def round(self, x: Any, name: str, fixed: Range | None) -> Any:
        """Rounds a value.

        Args:
            x: tensor.
            name: of the point.
            fixed: range that does not depend on the images, or None.
        """
        raise TypeError(f"{type(self).__name__} does not define round()")

    def _fused(self, layer: keras.layers.Layer, x: Any) -> bool:
        known = self._open.get(id(x))
        if known is None or not isinstance(known[2], FUSES):
            return False
        return isinstance(layer, SliceableBatchNormalization) or is_relu(layer)


class FakeQuantized(Rounding, Compute):
    """Runs a network as its int8 file would, with gradients passed straight through (quantisation-aware training).

    Kernels are rounded by ``fake_quant_kernel``, activations to 256 steps over the range that they have in the batch.
    """

    def run(self, layer: SliceableLayer, x: Any) -> Any:
        """Runs a sliceable layer, with a rounded kernel where it has one."""
        if not isinstance(layer, KERNELS):
            return super().run(layer, x)
        return layer(x, level=self.level, training=self.training, quantize=True)

    def round(self, x: tf.Tensor, name: str, fixed: Range | None) -> tf.Tensor:
        """See the base class."""
        values = tf.cast(x, tf.float32)
        low, high = fixed or (tf.minimum(tf.reduce_min(values), 0.0), tf.reduce_max(values))
        high = tf.maximum(high, low + SMALLEST_RANGE)
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            values, tf.stop_gradient(low), tf.stop_gradient(high), num_bits=8
        )
        return tf.cast(rounded, x.dtype)


def check_quantize(model: "Supernet", quantize: str | None) -> type[Compute]:
    """The visitor that trains or measures a model.

    Args:
        model: supernet.
        quantize: None, or "int8".

    Returns:
        ``Compute``, or ``FakeQuantized``.

    Raises:
        ValueError: another value, or a model with a layer that int8 does not know.
    """
    if quantize not in (None, "int8"):
        raise ValueError(f"quantize must be None or 'int8', received {quantize!r}")
    if quantize is None:
        return Compute
    model.logits(_Known(0), model.input_shape)
    return FakeQuantized


class _Known(Rounding, Shapes):
    """Only checks that int8 knows every layer."""

    def round(self, x: Any, name: str, fixed: Range | None) -> Any:
        return x


class _Observed(Rounding, Compute):
    """Runs the float network, and notes the range of every value that an int8 network rounds."""

    def __init__(self, level: int):
        super().__init__(level)
        self.ranges: dict[str, tf.Tensor] = {}

    def round(self, x: tf.Tensor, name: str, fixed: Range | None) -> tf.Tensor:
        """Keeps the range of ``x``, and leaves it as it is."""
        if fixed is None:
            self.ranges[name] = tf.stack([tf.minimum(tf.reduce_min(x), 0.0), tf.reduce_max(x)])
        return x


def activation_ranges(model: "Supernet", images: Any, batch_size: int = 32) -> list[dict[str, Range]]:
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
        >>> activation_ranges(model, images)[0]["features"]
        (-0.28, 5.9)
    """
    images = check_calibration_data(model, images)

    @tf.function(autograph=False, reduce_retracing=True)
    def observe(x: tf.Tensor) -> tuple[dict, list[dict]]:
        start = _Observed(0)
        features, gate_features = model.start(start, x)
        start.rounded(model.gate(start, gate_features))
        start.name(features, "features")
        features, bodies = start.rounded(features), []
        for level in range(len(model.levels)):
            visitor = _Observed(level)
            visitor.rounded(model.body(visitor, features))
            bodies.append(visitor.ranges)
        return start.ranges, bodies

    batches = [observe(tf.constant(images[i : i + batch_size])) for i in range(0, len(images), batch_size)]
    means = tf.nest.map_structure(lambda *parts: np.mean([part.numpy() for part in parts], axis=0), *batches)
    start, bodies = means
    return [{name: _usable(values) for name, values in {**start, **body}.items()} for body in bodies]


def check_calibration_data(model: "Supernet", images: Any) -> np.ndarray:
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


def is_relu(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a ReLU or ReLU6, which LiteRT makes a part of the operator before it."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value in (None, 6.0) and not layer.negative_slope and not layer.threshold
    relu = (keras.activations.relu, keras.activations.relu6)
    return isinstance(layer, keras.layers.Activation) and layer.activation in relu


def _fixed_range(layer: keras.layers.Layer) -> Range | None:
    if isinstance(layer, keras.layers.Rescaling):
        ends = np.asarray(IMAGES)[:, None] * np.ravel(layer.scale) + np.ravel(layer.offset)
        return float(min(ends.min(), 0.0)), float(ends.max())
    return FIXED.get(getattr(getattr(layer, "activation", None), "__name__", ""))


def _usable(values: np.ndarray) -> Range:
    low, high = float(values[0]), float(values[1])
    return low, max(high, low + SMALLEST_RANGE)
