"""DS-MobileNetV2: inverted residuals sliced in width, expansion, kernel and depth after a gate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras

from ds_keras.core.levels import SliceLevel, first_levels
from ds_keras.core.visitor import SliceableBlock, Visitor
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.depthwise import SliceableDepthwiseConv2D
from ds_keras.layers.gate import DoubleHeadedGate
from ds_keras.models.inverted import (
    IMAGENET,
    LAST,
    LITE,
    SIZES,
    TINY,
    InvertedStage,
    expansion_ratios,
    gated_inverted,
)
from ds_keras.models.stage import Style, at_levels, read_stage, slice_levels
from ds_keras.models.supernet import Supernet

ACTIVATIONS = ("relu6", "hard_swish", "swish")


@dataclass(frozen=True)
class _Style(Style):
    """What every block of one network shares."""

    attention: bool

    def act(self, **kwargs: Any) -> keras.layers.Layer:
        """The activation, as a layer."""
        return keras.layers.Activation(self.activation, **kwargs)


class _InvertedResidual(SliceableBlock):
    """1x1 convolution to the hidden width, depthwise convolution, attention, 1x1 convolution back; BN behind each.

    ``old``, ``hidden`` and ``new`` are the widths at every level; ``statistics`` the rows of BatchNorm.
    """

    def __init__(
        self,
        style: _Style,
        kernels: Sequence[int],
        stride: int,
        widths: tuple[Sequence[int], Sequence[int], Sequence[int]],
        statistics: Sequence[int],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        old, hidden, new = (list(width) for width in widths)
        self.residual = stride == 1 and old[-1] == new[-1]
        if self.residual and old != new:
            raise ValueError(f"{self.name}: widths must be those of its input at every level, {old}, received {new}")
        self.steps = []
        if hidden != old:
            self.steps += [
                SliceableConv2D(hidden[-1], 1, sizes=hidden, **self.child("expand")),
                style.norm(statistics, **self.child("expand_norm")),
                style.act(**self.child("expand_activation")),
            ]
        area: dict[str, Any] = {"sizes": hidden, "kernel_sizes": list(kernels)}
        self.steps += [
            SliceableDepthwiseConv2D(kernels[-1], stride, style.padding, **area, **self.child("depthwise")),
            style.norm(statistics, **self.child("depthwise_norm")),
            style.act(**self.child("depthwise_activation")),
        ]
        if style.attention:
            self.steps.append(DoubleHeadedGate(hidden, 0, **self.child("attention")))
        self.steps += [
            SliceableConv2D(new[-1], 1, sizes=new, **self.child("project")),
            style.norm(statistics, **self.child("project_norm")),
        ]
        self.add = keras.layers.Add(**self.child("add")) if self.residual else None

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """See the base class."""
        y = x
        for layer in self.steps:
            y = visitor(layer, y)
        return y if self.add is None else visitor(self.add, [x, y])


@keras.saving.register_keras_serializable("ds_keras")
class DSMobileNetV2(Supernet):
    """DS-MobileNetV2 supernet.

    Stem and stages before the gate run at one width in every level. The gate stands in front of its row.

    Args:
        stem: width of the stem convolution.
        stages: rows of the architecture; exactly one has ``gate=True``.
        last: width of the last 1x1 convolution: an int, or one for each level.
        num_classes: size of the classifier.
        input_shape: (height, width, channels).
        stem_stride: of the stem.
        attention: squeeze-and-excitation in every block, and in front of the gate (one that begins as the identity).
        padding: "same" as in TensorFlow's networks, or "symmetric" as in PyTorch's.
        activation: "relu6", "hard_swish" or "swish".
        dropout: rate before the classifier, for Stage I's largest pass only.
        gate_hidden: width of the slimming head's hidden layer; 0 is a linear head.
        bn_momentum: of the moving averages.
        bn_epsilon: of BatchNorm.
        **kwargs: see ``Supernet``.

    Call:
        See ``Supernet.call``: images in [0, 255]; ``level=`` or routed.

    Raises:
        ValueError: a table that does not describe nested levels.

    Source: MobileNetV2, arXiv 1801.04381; levels and gate: DS-Net++, arXiv 2109.10060. Depth as a dimension is ours.

    Example:
        >>> model = DSMobileNetV2.efficientnet_lite(0, num_classes=10, input_shape=(128, 128, 3))
        >>> model(images, level=0).shape
        TensorShape([8, 10])
    """

    def __init__(
        self,
        stem: int,
        stages: Sequence[InvertedStage | dict[str, Any]],
        last: int | Sequence[int],
        num_classes: int = 1000,
        input_shape: Sequence[int] = (224, 224, 3),
        stem_stride: int = 2,
        attention: bool = False,
        padding: str = "same",
        activation: str = "relu6",
        dropout: float = 0.0,
        gate_hidden: int = 0,
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-3,
        **kwargs: Any,
    ):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, received {activation!r}")
        style = _Style(padding, activation, bn_momentum, bn_epsilon, bool(attention))
        rows = tuple(read_stage(stage, InvertedStage) for stage in stages)
        gated = gated_inverted(rows)
        levels = slice_levels(rows, gated)
        last = last if isinstance(last, int) else tuple(last)
        widths = at_levels(last, len(levels))
        if len(widths) != len(levels) or widths != sorted(widths) or widths[0] < 1:
            raise ValueError(f"last must be an int, or one for each level, not decreasing; received {last!r}")
        levels = tuple(
            SliceLevel(k, {**level.ratios, **expansion_ratios(rows, k), "last": widths[k] / widths[-1]})
            for k, level in enumerate(levels)
        )
        height, width, channels = input_shape
        super().__init__(levels, levels[-1], num_classes, (height, width, channels), **kwargs)
        self.table: dict[str, Any] = {"stem": int(stem), "stages": rows, "last": last, "stem_stride": int(stem_stride)}
        self.style, self.gated = style, gated
        self.gate_hidden, self.dropout_rate = int(gate_hidden), float(dropout)
        self._make_layers(len(levels))

    def _make_layers(self, count: int) -> None:
        shared, private = [0] * count, list(range(count))
        named: dict[str, Any] = {"dtype": self.dtype_policy}
        style, stride = self.style, self.table["stem_stride"]
        old = [self.table["stem"]] * count
        self.stem = [
            SliceableConv2D(old[-1], 3, stride, style.padding, sizes=old, name="stem", **named),
            style.norm(shared, name="stem_norm", **named),
            style.act(name="stem_activation", **named),
        ]
        self.blocks: list[list[_InvertedResidual]] = []
        self.strides = [stride]  # behind the stem and behind each stage
        for i, stage in enumerate(self.table["stages"]):
            self.strides.append(self.strides[-1] * stage.stride)
            new, rows, blocks = at_levels(stage.width, count), shared if i < self.gated else private, []
            if i == self.gated:
                head: dict[str, Any] = {"attention": style.attention, "hidden": self.gate_hidden, "identity": True}
                self.gate_block = DoubleHeadedGate(old, count, **head, name="gate", **named)
            for j, first_level in enumerate(first_levels(at_levels(stage.depth, count))):
                hidden = [int(e * w + 0.5) for e, w in zip(at_levels(stage.expansion, count), old, strict=True)]
                step, name = stage.stride if j == 0 else 1, f"stage{i + 1}_block{j + 1}"
                given: dict[str, Any] = {"first_level": first_level, "name": name, **named}
                kernels = at_levels(stage.kernel, count)
                blocks.append(_InvertedResidual(style, kernels, step, (old, hidden, new), rows, **given))
                old = new
            self.blocks.append(blocks)
        widths = at_levels(self.table["last"], count)
        self.last = [
            SliceableConv2D(widths[-1], 1, sizes=widths, name="last", **named),
            style.norm(private, name="last_norm", **named),
            style.act(name="last_activation", **named),
        ]
        self.make_head(count)

    def start(self, visitor: Visitor, x: Any) -> tuple[Any, Any]:
        """Stem, the stages before the gate, and the gate's attention."""
        x = visitor(self.rescale, x)
        for layer in self.stem:
            x = visitor(layer, x)
        visitor.endpoint(self.strides[0], x)
        return self.gate_block.attend(visitor, self._run(visitor, x, slice(self.gated)))

    def gate(self, visitor: Visitor, features: Any) -> Any:
        """The slimming head."""
        return self.gate_block.logits(visitor, features)

    def gate_layer(self) -> keras.layers.Layer:
        """See the base class."""
        return self.gate_block.slimming_head

    def trunk(self, visitor: Visitor, features: Any) -> Any:
        """The stages from the gate on."""
        return self._run(visitor, features, slice(self.gated, None))

    def body(self, visitor: Visitor, features: Any) -> Any:
        """The trunk, the last convolution and the classifier."""
        x = self.trunk(visitor, features)
        for layer in self.last:
            x = visitor(layer, x)
        return self.head(visitor, x)

    def _run(self, visitor: Visitor, x: Any, stages: slice) -> Any:
        for blocks, stride in zip(self.blocks[stages], self.strides[1:][stages], strict=True):
            for block in blocks:
                x = visitor(block, x)
            visitor.endpoint(stride, x)
        return x

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as plain data."""
        last = self.table["last"]
        table = {**self.table, "last": list(last) if isinstance(last, tuple) else last}
        table["stages"] = [asdict(stage) for stage in self.table["stages"]]
        own = {"dropout": self.dropout_rate, "gate_hidden": self.gate_hidden}
        return {**super().get_config(), **table, **asdict(self.style), **own}

    @classmethod
    def imagenet(
        cls, num_classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), **kwargs: Any
    ) -> "DSMobileNetV2":
        """MobileNetV2 1.0 (3.5M parameters, 301 MMAdds at 224 px) as the largest of four levels.

        Any size from 96 px suits. The smallest level is bounded by what every level runs: the stem and the first block
        are 7 % of the largest level's multiply-adds.

        Args:
            num_classes: size of the classifier.
            input_shape: (height, width, channels).
            **kwargs: of the constructor.

        Returns:
            DSMobileNetV2.
        """
        return cls(32, IMAGENET, LAST, num_classes, input_shape, **{"dropout": 0.2, **kwargs})

    @classmethod
    def efficientnet_lite(
        cls, variant: int = 0, num_classes: int = 1000, input_shape: Sequence[int] | None = None, **kwargs: Any
    ) -> "DSMobileNetV2":
        """EfficientNet-Lite0, 1 or 2 as the largest of four levels.

        4.65M, 5.42M and 6.09M parameters; 385, 600 and 860 MMAdds at 224, 240 and 260 px (published as 407, 631 and
        899, by a count that is 5 % above ours); any size from 96 px suits. The stem and the first block, which every
        level runs, are 5 %, 4 % and 3 % of that, and bound the smallest level.

        Args:
            variant: 0, 1 or 2.
            num_classes: size of the classifier.
            input_shape: (height, width, channels); default the published size.
            **kwargs: of the constructor.

        Returns:
            DSMobileNetV2.

        Raises:
            ValueError: another variant.

        Source: EfficientNet, arXiv 1905.11946; Lite: without squeeze-and-excitation, with ReLU6.
        """
        if variant not in LITE:
            raise ValueError(f"variant must be one of {tuple(LITE)}, received {variant!r}")
        shape = (SIZES[variant], SIZES[variant], 3) if input_shape is None else input_shape
        given = {"dropout": 0.2, "mean": 127.0, "std": 128.0, **kwargs}
        return cls(32, LITE[variant], LAST, num_classes, shape, **given)

    @classmethod
    def tiny(cls, num_classes: int, input_shape: Sequence[int] = (8, 8, 1), **kwargs: Any) -> "DSMobileNetV2":
        """Four levels for images of about 8 px. Arguments as ``imagenet``."""
        return cls(8, TINY, (16, 24, 32, 48), num_classes, input_shape, **{"stem_stride": 1, **kwargs})
