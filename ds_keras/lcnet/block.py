"""A residual block that an image may skip, or of whose channels it may skip groups."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.visitor import Compute
from ds_keras.layers.gate import DoubleHeadedGate
from ds_keras.lcnet.predictor import ScalePredictor
from ds_keras.lcnet.skipping import How, in_full


class Costs(NamedTuple):
    """Multiply-adds of a block: always; where it is not skipped; and for each group of channels that is not."""

    always: int
    block: int
    group: int


class SkippableBlock(keras.layers.Layer):
    """shortcut(x) + scale x BN(project(sum of the groups' channels)), then the activation.

    A basic block has two 3x3 convolutions, a bottleneck 1x1, 3x3 and 1x1; the groups are those of the first, or of the
    bottleneck's 3x3, one: the output channels of ``spatial`` and the input channels of ``project``.

    Args:
        kind: "basic" or "bottleneck".
        old: channels of the input.
        width: channels of the output.
        stride: of the block.
        layers: the block may be skipped.
        groups: of channels that may be skipped; 0 for none.
        activation: Keras activation name.
        attention: x is multiplied by a channel attention first, 1 + tanh(...); it always runs.
        projection: a 1x1 convolution in the shortcut, also where width and stride stay as they are.
        constant: see ``ScalePredictor``.
        stride_in: the convolution of a bottleneck that has the stride: "3x3" or "1x1".
        **kwargs: of ``keras.layers.Layer``.
    """

    def __init__(
        self,
        kind: str,
        old: int,
        width: int,
        stride: int,
        layers: bool,
        groups: int,
        activation: str = "relu",
        attention: bool = False,
        projection: bool = False,
        constant: bool = False,
        stride_in: str = "3x3",
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)
        bottleneck = kind == "bottleneck"
        first, self.second = (stride, 1) if bottleneck and stride_in == "1x1" else (1, stride)
        self.hidden = width // 4 if bottleneck else width
        self.old, self.width, self.stride, self.layers, self.groups = old, width, stride, layers, groups
        self.reduce = []
        if bottleneck:
            self.reduce = [self._convolution(self.hidden, 1, "reduce", first), self._norm("reduce_norm")]
        self.spatial = self._convolution(self.hidden, 3, "spatial", self.second)
        self.norm = self._norm("norm")
        self.project = self._convolution(width, 1 if bottleneck else 3, "project")
        self.project_norm = self._norm("project_norm", gamma_initializer="zeros")  # begins as its shortcut
        self.shortcut = []
        if projection or stride != 1 or old != width:
            self.shortcut = [self._convolution(width, 1, "shortcut", stride), self._norm("shortcut_norm")]
        self.activation = keras.activations.get(activation)
        self.attention, self.predictor = None, None
        if attention:
            named = {"name": f"{self.name}_attention", "dtype": self.dtype_policy}
            self.attention = DoubleHeadedGate([old], identity=True, **named)
        if self.units:
            self.predictor = ScalePredictor(self.units, constant, name=f"{self.name}_scales")

    def _convolution(self, filters: int, kernel: int, name: str, stride: int = 1) -> keras.layers.Layer:
        options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal", **CHANNELS_LAST}
        return keras.layers.Conv2D(
            filters, kernel, stride, **options, name=f"{self.name}_{name}", dtype=self.dtype_policy
        )

    def _norm(self, name: str, **options: Any) -> keras.layers.Layer:
        options = {"momentum": 0.9, "epsilon": 1e-5, **options}
        return keras.layers.BatchNormalization(**options, name=f"{self.name}_{name}", dtype=self.dtype_policy)

    @property
    def units(self) -> int:
        """What may be skipped: the block (where ``layers``), and each group."""
        return int(self.layers) + self.groups

    @property
    def norms(self) -> list[keras.layers.BatchNormalization]:
        """Every BatchNorm of the block."""
        layers = [*self.reduce, self.norm, self.project_norm, *self.shortcut]
        return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]

    def build(self, input_shape: Any = None) -> None:
        """Creates every weight."""
        inner = self.hidden if self.reduce else self.old
        widths = [(self.spatial, inner), (self.norm, self.hidden), (self.project, self.hidden)]
        widths += [(self.project_norm, self.width)]
        widths += list(zip(self.reduce, (self.old, self.hidden), strict=False))
        widths += list(zip(self.shortcut, (self.old, self.width), strict=False))
        widths += [(layer, self.old) for layer in (self.predictor, self.attention) if layer is not None]
        for layer, channels in widths:
            layer.build((None, None, None, channels))
        self.built = True

    def call(self, x: tf.Tensor, scales: tf.Tensor | None, how: How, training: bool = False) -> tf.Tensor:
        """Runs what ``scales``, (batch, units), leave of the block; None leaves all of it."""
        if self.attention is not None:
            x = self.attention.attend(Compute(0), x)[0]
        y = run_layers(self.shortcut, x, training)

        def residual(x: tf.Tensor, scales: tf.Tensor | None) -> tf.Tensor:
            return self._residual(x, scales, how, training)

        if scales is not None and self.layers:
            y = how(y, scales[:, 0], residual, x, scales[:, 1:])
        else:
            y = y + residual(x, scales)
        return self.activation(y)

    def _residual(self, x: tf.Tensor, scales: tf.Tensor | None, how: How, training: bool) -> tf.Tensor:
        if self.reduce:
            x = self.activation(run_layers(self.reduce, x, training))
        if how is in_full or scales is None or self.groups in (0, self.hidden):
            y = self.activation(run_layers([self.spatial, self.norm], x, training))
            if scales is not None and self.groups:
                each = tf.repeat(tf.cast(scales, y.dtype), self.hidden // self.groups, axis=1)
                y *= each[:, None, None]
            y = self.project(y)
        else:
            sizes = [tf.shape(x)[i] if x.shape[i] is None else x.shape[i] for i in range(3)]
            height, width = (-(-size // self.second) for size in sizes[1:])
            y = tf.zeros([sizes[0], height, width, self.width], self.compute_dtype)
            for i in range(self.groups):
                y = how(y, scales[:, i], functools.partial(self._group, i), x)
        return self.project_norm(y, training=training)

    def _group(self, i: int, x: tf.Tensor) -> tf.Tensor:
        """What the channels of one group add before the last BatchNorm, at inference."""
        size = self.hidden // self.groups
        part, norm = slice(i * size, (i + 1) * size), self.norm
        statistics = [norm.moving_mean, norm.moving_variance, norm.beta, norm.gamma]
        y = tf.cast(self._convolve(x, self.spatial.kernel[..., part], self.second), tf.float32)
        y = tf.nn.batch_normalization(y, *(v[part] for v in statistics), norm.epsilon)
        return self._convolve(self.activation(y), self.project.kernel[:, :, part], 1)

    def _convolve(self, x: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
        x = tf.cast(x, self.compute_dtype)
        return tf.nn.conv2d(x, tf.cast(kernel, x.dtype), stride, "SAME")

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[Any, ...]:
        """(batch, height, width, channels) of what a block gives."""
        batch, height, width, _ = input_shape
        return (batch, math.ceil(height / self.stride), math.ceil(width / self.stride), self.width)

    def costs(self, height: int, width: int) -> Costs:
        """Multiply-adds for one image of this height and width."""
        before, area = height * width, math.ceil(height / self.stride) * math.ceil(width / self.stride)
        always = self.old * (before + self.units) if self.units else 0
        always += self.old * self.width * area if self.shortcut else 0
        always += self.old * (before + 2 * self.attention.reduced) if self.attention is not None else 0
        reduce = self.old * self.hidden * (before if self.second == self.stride else area) if self.reduce else 0
        inner = self.hidden if self.reduce else self.old
        channels = (9 * inner + (1 if self.reduce else 9) * self.width) * self.hidden * area
        if not self.groups:
            return Costs(always, reduce + channels, 0)
        return Costs(always, reduce, channels // self.groups)


def run_layers(layers: Sequence[keras.layers.Layer], x: tf.Tensor, training: bool) -> tf.Tensor:
    """Runs layers one after another; ``training`` is BatchNorm's."""
    for layer in layers:
        x = layer(x, training=training) if isinstance(layer, keras.layers.BatchNormalization) else layer(x)
    return x
