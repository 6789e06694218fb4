"""int8: where a network rounds, in every pass over it.

An activation is rounded where an operator reads it that it is not fused with; ``Rounding`` finds these points for every
visitor, so that training, calibration and export agree. Each sliceable layer says what int8 makes of it
(``SliceableLayer.int8``), Keras' own layers are in the table ``KERAS_LAYERS``.

Source: ours; fake quantisation: arXiv 1712.05877.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.sliceable import SliceableLayer
from ds_keras.core.visitor import Compute, Shapes, Visitor

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

Range = tuple[float, float]
IMAGES: Range = (0.0, 255.0)
SMALLEST_RANGE = 1e-2  # of a value that is always 0: with less, LiteRT cannot scale an operator's sums to its codes
FIXED = {"sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}  # ranges that LiteRT's kernels insist on

# What int8 makes of a layer. Sliceable layers say "kernel" or "folded" (or None: int8 does not know them).
KERNEL = "kernel"  # an operator with an int8 kernel
FOLDED = "folded"  # BatchNorm: becomes a part of the kernel before it
SUM = "sum"  # an operator without a kernel that a ReLU behind it becomes a part of
RELU = "relu"  # becomes a part of the operator before it, where that is one of the three above
SAME_SCALE = "same scale"  # the output has the scale of the input, and is not rounded again
PLAIN = "plain"  # any other operator: rounds its output
KERAS_LAYERS = {
    keras.layers.Add: SUM,
    keras.layers.Cropping1D: SAME_SCALE,
    keras.layers.Dropout: SAME_SCALE,
    keras.layers.Flatten: SAME_SCALE,
    keras.layers.MaxPooling2D: SAME_SCALE,
    keras.layers.Reshape: SAME_SCALE,
    keras.layers.UpSampling2D: SAME_SCALE,
    keras.layers.ZeroPadding2D: SAME_SCALE,
}


def role(layer: keras.layers.Layer) -> str:
    """What int8 makes of a layer.

    Args:
        layer: sliceable, or Keras' own.

    Returns:
        One of the constants above.

    Raises:
        ValueError: a sliceable layer that int8 does not know.
    """
    if isinstance(layer, SliceableLayer):
        if layer.int8 is None:
            raise ValueError(
                f"int8 knows no {type(layer).__name__} ({layer.name}): convolutions, dense layers and BatchNorm are "
                "quantised; for transformers use quantization='dynamic_int8'"
            )
        return layer.int8
    if is_relu(layer):
        return RELU
    return next((found for kind, found in KERAS_LAYERS.items() if isinstance(layer, kind)), PLAIN)


@dataclasses.dataclass
class _Open:
    """A value that no layer has read rounded yet.

    Args:
        value: kept, so that its id is not given to another one.
        layer: that returned it.
        kind: what int8 makes of that layer.
        name: of the point.
        rounded: the value as an operator reads it, once one has.
    """

    value: Any
    layer: keras.layers.Layer
    kind: str
    name: str
    rounded: Any = None


class Rounding(Visitor):
    """Finds the values that an int8 network rounds: mixed into a visitor, before it.

    What a layer returns is left open until it is read: BatchNorm and ReLU read the open value of the convolution or
    addition that they are fused with, every other layer the rounded one.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._open: dict[int, _Open] = {}  # by the id of a value

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The output of ``layer``, open."""
        kind = role(layer)
        if isinstance(x, list):
            x = [self.rounded(part) for part in x]
        elif not self._fused(kind, x):
            x = self.rounded(x)
        y = super().apply(layer, x)
        if kind != SAME_SCALE:
            self._open[id(y)] = _Open(y, layer, kind, layer.name)
        return y

    def rounded(self, x: Any) -> Any:
        """``x`` as the next operator reads it; what has been rounded, or never was open, as it is."""
        if id(x) not in self._open:
            return x
        entry = self._open[id(x)]
        if entry.rounded is None:
            entry.rounded = self.round(x, entry.name, _fixed_range(entry.layer))
        return entry.rounded

    def name(self, x: Any, name: str) -> None:
        """Calls an open value by this name, not by its layer's."""
        if id(x) in self._open:
            self._open[id(x)].name = name

    def round(self, x: Any, name: str, fixed: Range | None) -> Any:
        """Rounds a value.

        Args:
            x: tensor.
            name: of the point.
            fixed: range that does not depend on the images, or None.
        """
        raise TypeError(f"{type(self).__name__} does not define round()")

    def _fused(self, kind: str, x: Any) -> bool:
        """Whether a layer becomes a part of the operator that gave ``x``, so that ``x`` is not rounded."""
        known = self._open.get(id(x))
        return known is not None and known.kind in (KERNEL, FOLDED, SUM) and kind in (FOLDED, RELU)


class FakeQuantized(Rounding, Compute):
    """Runs a network as its int8 file would, with gradients passed straight through (quantisation-aware training).

    Kernels are rounded by ``fake_quant_kernel``, activations to 256 steps over the range that they have in the batch.
    """

    def run(self, layer: SliceableLayer, x: Any, **options: Any) -> Any:
        """Runs a sliceable layer, with a rounded kernel where it has one."""
        return super().run(layer, x, **(options | {"quantize": True} if role(layer) == KERNEL else options))

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


def is_relu(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a ReLU or ReLU6, which LiteRT makes a part of the operator before it."""
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value in (None, 6.0) and not layer.negative_slope and not layer.threshold
    relu = (keras.activations.relu, keras.activations.relu6)
    return isinstance(layer, keras.layers.Activation) and layer.activation in relu


def _with_a_zero(low: float, high: float) -> Range:
    """The smallest range around this one whose 256 steps hold 0.

    A range that holds none is moved by up to half a step: pixels from -1 to 1 would all lie half-way between two steps,
    and every implementation rounds them in another way.
    """
    below = int(-255 * low / (high - low))  # steps below 0
    step, below = min((max(-low / max(n, 1), high / (255 - n)), n) for n in {below, min(below + 1, 254)})
    return -below * step, (255 - below) * step


def _fixed_range(layer: keras.layers.Layer) -> Range | None:
    if isinstance(layer, keras.layers.Rescaling):
        ends = np.asarray(IMAGES)[:, None] * np.ravel(layer.scale) + np.ravel(layer.offset)
        return _with_a_zero(float(min(ends.min(), 0.0)), float(max(ends.max(), SMALLEST_RANGE)))
    return FIXED.get(getattr(getattr(layer, "activation", None), "__name__", ""))
