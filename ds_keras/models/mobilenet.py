"""DS-MobileNet: a MobileNetV1 body with squeeze-and-excitation, sliced in width after a double-headed gate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from ds_keras.core.levels import SliceLevel, first_levels
from ds_keras.core.visitor import SliceableBlock, Visitor
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.depthwise import SliceableDepthwiseConv2D
from ds_keras.layers.gate import DoubleHeadedGate
from ds_keras.models.stage import Stage, Style, at_levels, gated_stage, read_stage, slice_levels
from ds_keras.models.supernet import Supernet
from ds_keras.policies.cascade import check_chain

# The released DS-MBNet (DS-Net, arXiv 2103.13258; widths from its public configuration).
IMAGENET = (
    Stage(32, 1, 1, teacher=88),
    Stage(48, 2, 2, teacher=168),
    Stage(96, 2, 2, teacher=264),
    Stage(tuple(range(224, 641, 32)), 6, 2, gate=True),
    Stage(tuple(range(736, 1153, 32)), 2, 2),
)
# MobileNet V1 (arXiv 1704.04861) at its largest level, plain blocks; the smaller levels are ours.
V1 = (
    Stage(64, 1, 1),
    Stage((24, 48, 80, 128), (1, 2, 2, 2), 2, gate=True),
    Stage((48, 104, 176, 256), (1, 2, 2, 2), 2),
    Stage((104, 208, 336, 512), (3, 5, 6, 6), 2),
    Stage((208, 448, 704, 1024), (1, 2, 2, 2), 2),
)
# Ours: 128 px, 28-32 px and 8 px.
MEDIUM = (
    Stage(16, 1, 1),
    Stage(24, 1, 2),
    Stage((24, 64, 104, 144), 3, 2, gate=True),
    Stage((48, 128, 208, 288), 4, 2),
    Stage((96, 256, 416, 576), 2, 2),
)
SMALL = (
    Stage(32, 1, 1),
    Stage((32, 64, 96, 128), 4, 2, gate=True),
    Stage((64, 128, 192, 256), 3, 2),
)
TINY = (
    Stage(12, 1, 1),
    Stage((4, 12, 24, 48), 2, 2, gate=True),
    Stage((8, 24, 48, 96), 2, 1),
)


@dataclass(frozen=True)
class _Style(Style):
    """What every block of one network shares."""

    attention: bool
    residual: bool
    gate_hidden: int


class _SeparableBlock(SliceableBlock):
    """Depthwise conv, BN, activation, attention (and gate), pointwise conv, BN, activation; optional residual add.

    ``kernels`` lists the depthwise kernel's size at every level; ``before`` and ``after`` are the rows of statistics
    on either side of the attention, where the width changes.
    """

    def __init__(
        self,
        style: _Style,
        kernels: Sequence[int],
        stride: int,
        widths: tuple[Sequence[int], Sequence[int]],
        before: Sequence[int],
        after: Sequence[int],
        num_outputs: int,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        old, new = widths
        self.depthwise = SliceableDepthwiseConv2D(
            kernels[-1], stride, style.padding, sizes=old, kernel_sizes=kernels, **self.child("depthwise")
        )
        self.norm1 = style.norm(before, **self.child("norm1"))
        self.activation1 = keras.layers.Activation(style.activation, **self.child("activation1"))
        self.gate: Any = None
        if style.attention or num_outputs:
            hidden = style.gate_hidden if num_outputs else 0
            self.gate = DoubleHeadedGate(
                old, num_outputs, attention=style.attention, hidden=hidden, **self.child("gate")
            )
        self.pointwise = SliceableConv2D(new[-1], 1, sizes=new, **self.child("pointwise"))
        self.norm2 = style.norm(after, **self.child("norm2"))
        self.activation2 = keras.layers.Activation(style.activation, **self.child("activation2"))
        self.add = keras.layers.Add(**self.child("add")) if style.residual and stride == 1 and old == new else None

    def spatial(self, visitor: Visitor, x: Any) -> tuple[Any, Any]:
        """The half before the width changes: the attended features, and what the slimming head reads."""
        x = visitor(self.activation1, visitor(self.norm1, visitor(self.depthwise, x)))
        return (x, None) if self.gate is None else self.gate.attend(visitor, x)

    def project(self, visitor: Visitor, x: Any) -> Any:
        """The half at the new width."""
        return visitor(self.activation2, visitor(self.norm2, visitor(self.pointwise, x)))

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """See the base class."""
        y = self.project(visitor, self.spatial(visitor, x)[0])
        return y if self.add is None else visitor(self.add, [x, y])


@keras.saving.register_keras_serializable("ds_keras")
class DSMobileNet(Supernet):
    """DS-MobileNet supernet.

    Args:
        stem: width of the stem convolution, or (width, the teacher's width).
        stages: rows of the architecture; exactly one has ``gate=True``.
        num_classes: size of the classifier.
        input_shape: (height, width, channels).
        stem_stride: of the stem.
        attention: squeeze-and-excitation in every block.
        residual: adds the input of a block to its output where the shapes agree (not in the published network).
        padding: "same", or "symmetric" as in PyTorch.
        activation: Keras activation name.
        dropout: rate before the classifier, for Stage I's largest pass only.
        gate_hidden: width of the slimming head's hidden layer; 0 is the published linear head.
        bn_momentum: of the moving averages.
        bn_epsilon: of BatchNorm.
        **kwargs: see ``Supernet``.

    Call:
        See ``Supernet.call``: images in [0, 255]; ``level=`` or routed.

    Raises:
        ValueError: a table that does not describe nested levels.

    Source: DS-Net, arXiv 2103.13258, section 4 (DS-MBNet); the 14-level table is ``DSMobileNet.imagenet()``.

    Example:
        >>> model = DSMobileNet.small(num_classes=10, input_shape=(28, 28, 1))
        >>> model(images, level=0).shape
        TensorShape([8, 10])
    """

    def __init__(
        self,
        stem: int | Sequence[int],
        stages: Sequence[Stage | dict[str, Any]],
        num_classes: int = 1000,
        input_shape: Sequence[int] = (224, 224, 3),
        stem_stride: int = 2,
        attention: bool = True,
        residual: bool = False,
        padding: str = "same",
        activation: str = "swish",
        dropout: float = 0.0,
        gate_hidden: int = 0,
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
        **kwargs: Any,
    ):
        style = _Style(padding, activation, bn_momentum, bn_epsilon, attention, residual, gate_hidden)
        rows = tuple(read_stage(stage) for stage in stages)
        gated = gated_stage(rows)
        stems = (stem,) if isinstance(stem, int) else tuple(stem)
        levels = slice_levels(rows, gated)
        count = len(levels)
        has_teacher = len(stems) > 1 or any(row.teacher for row in rows)
        teacher = SliceLevel(count, {**levels[-1].ratios, "teacher": 1.0}) if has_teacher else levels[-1]
        super().__init__(levels, teacher, num_classes, input_shape, **kwargs)
        self.table: dict[str, Any] = {"stem": stems, "stages": rows, "stem_stride": int(stem_stride)}
        self.style, self.dropout_rate = style, float(dropout)
        self._make_layers(count, int(has_teacher), gated)

    def _make_layers(self, count: int, extra: int, gated: int) -> None:
        """``extra`` is 1 where the teacher's level is one of its own, with its own statistics."""
        shared = [0] * count + [1] * extra
        private = list(range(count + extra))

        def widths(width: Any, teacher: int | None = None) -> list[int]:
            listed = at_levels(width, count)
            return listed + [teacher or listed[-1]] * extra

        dtype = self.dtype_policy
        stem, stride = self.table["stem"], self.table["stem_stride"]
        old = widths(stem[0], stem[-1])
        self.stem = SliceableConv2D(old[-1], 3, stride, self.style.padding, sizes=old, name="stem", dtype=dtype)
        self.stem_norm = self.style.norm(shared, name="stem_norm", dtype=dtype)
        self.stem_activation = keras.layers.Activation(self.style.activation, name="stem_activation", dtype=dtype)
        self.blocks: list[_SeparableBlock] = []
        self.strides = [stride]
        for i, stage in enumerate(self.table["stages"]):
            new = widths(stage.width, stage.teacher)
            for j, first_level in enumerate(first_levels(at_levels(stage.depth, count))):
                gate_here = i == gated and j == 0
                if gate_here:
                    self.gated_block = len(self.blocks)
                kernels = widths(stage.kernel)
                if gate_here:  # its depthwise convolution runs before the level is known
                    kernels = kernels[:1] * len(kernels)
                block = _SeparableBlock(
                    self.style,
                    kernels,
                    stage.stride if j == 0 else 1,
                    (old, new),
                    before=shared if i < gated or gate_here else private,
                    after=shared if i < gated else private,
                    num_outputs=count if gate_here else 0,
                    first_level=first_level,
                    name=f"stage{i + 1}_block{j + 1}",
                    dtype=dtype,
                )
                self.blocks.append(block)
                self.strides.append(self.strides[-1] * (stage.stride if j == 0 else 1))
                old = new
        self.make_head(len(old))

    def start(self, visitor: Visitor, x: Any) -> tuple[Any, Any]:
        """Stem, the stages before the gate, and the gated block up to its attention."""
        x = visitor(self.stem, visitor(self.rescale, x))
        x = visitor(self.stem_activation, visitor(self.stem_norm, x))
        visitor.endpoint(self.strides[0], x)
        for block, stride in zip(self.blocks[: self.gated_block], self.strides[1:], strict=False):
            x = visitor(block, x)
            visitor.endpoint(stride, x)
        return self.blocks[self.gated_block].spatial(visitor, x)

    def gate(self, visitor: Visitor, features: Any) -> Any:
        """The slimming head."""
        return self.blocks[self.gated_block].gate.logits(visitor, features)

    def gate_layer(self) -> keras.layers.Layer:
        """See the base class."""
        return self.blocks[self.gated_block].gate.slimming_head

    def trunk(self, visitor: Visitor, features: Any) -> Any:
        """The gated block's pointwise half and the remaining blocks."""
        g = self.gated_block
        x = self.blocks[g].project(visitor, features)
        visitor.endpoint(self.strides[g + 1], x)
        for block, stride in zip(self.blocks[g + 1 :], self.strides[g + 2 :], strict=True):
            x = visitor(block, x)
            visitor.endpoint(stride, x)
        return x

    def body(self, visitor: Visitor, features: Any) -> Any:
        """The trunk and the classifier."""
        return self.head(visitor, self.trunk(visitor, features))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as plain data."""
        table = {**self.table, "stem": list(self.table["stem"])}
        table["stages"] = [asdict(stage) for stage in self.table["stages"]]
        return {**super().get_config(), **table, **asdict(self.style), "dropout": self.dropout_rate}

    @classmethod
    def imagenet(
        cls, num_classes: int = 1000, levels: Sequence[int] = tuple(range(14)), **kwargs: Any
    ) -> "DSMobileNet":
        """The released 14-level DS-MBNet for 224 px, with its wider teacher.

        Args:
            num_classes: size of the classifier.
            levels: which of the 14 to have, at least two, smaller ones first; fewer make a smaller bundle.
            **kwargs: of the constructor.

        Returns:
            DSMobileNet.
        """
        mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
        chosen = check_chain(tuple(levels), 14, "levels")
        stages = [
            replace(stage, width=tuple(stage.width[k] for k in chosen)) if isinstance(stage.width, tuple) else stage
            for stage in IMAGENET
        ]
        return cls((16, 24), stages, num_classes, **{"dropout": 0.2, "mean": mean, "std": std, **kwargs})

    @classmethod
    def v1(cls, num_classes: int = 1000, input_shape: Sequence[int] = (224, 224, 3), **kwargs: Any) -> "DSMobileNet":
        """MobileNet V1 (4.2M parameters, 569 MMAdds at 224 px) as the largest of four levels: ReLU6, no attention.

        Any size from 96 px suits. Stem, first block and the next depthwise convolution, which every level runs, are
        7 % of the largest level's multiply-adds and bound the smallest level.

        Args:
            num_classes: size of the classifier.
            input_shape: (height, width, channels).
            **kwargs: of the constructor.

        Returns:
            DSMobileNet.
        """
        plain = {"attention": False, "activation": "relu6", "bn_epsilon": 1e-3}
        return cls(32, V1, num_classes, input_shape, **{**plain, **kwargs})

    @classmethod
    def medium(cls, num_classes: int, input_shape: Sequence[int] = (128, 128, 3), **kwargs: Any) -> "DSMobileNet":
        """Four levels for images of about 128 px. Arguments as ``imagenet``, plus ``input_shape``."""
        return cls(16, MEDIUM, num_classes, input_shape, **kwargs)

    @classmethod
    def small(cls, num_classes: int, input_shape: Sequence[int] = (32, 32, 3), **kwargs: Any) -> "DSMobileNet":
        """Four levels for images of 28 to 32 px. Arguments as ``medium``."""
        return cls(16, SMALL, num_classes, input_shape, **{"stem_stride": 1, **kwargs})

    @classmethod
    def tiny(cls, num_classes: int, input_shape: Sequence[int] = (8, 8, 1), **kwargs: Any) -> "DSMobileNet":
        """Four levels for images of about 8 px. Arguments as ``medium``."""
        return cls(8, TINY, num_classes, input_shape, **{"stem_stride": 1, **kwargs})
