"""DS-ResNet: bottleneck or basic residual blocks, sliced in width after a double-headed gate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras

from ds_keras.core.levels import first_levels
from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.visitor import SliceableBlock, Visitor
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.gate import DoubleHeadedGate
from ds_keras.models.stage import Stage, Style, at_levels, gated_stage, read_stage, slice_levels
from ds_keras.models.supernet import Supernet

# ResNet-50 in four widths (DS-Net, arXiv 2103.13258, section 4: 0.25 to 1.0 by 0.25); the place of the gate is ours.
IMAGENET = (
    Stage(256, 3, 1),
    Stage((128, 256, 384, 512), 4, 2, gate=True),
    Stage((256, 512, 768, 1024), 6, 2),
    Stage((512, 1024, 1536, 2048), 3, 2),
)
# Ours, for 32 px, basic blocks.
CIFAR = (
    Stage(32, 1, 2),
    Stage((16, 32, 48, 64), 2, 1, gate=True),
    Stage((32, 64, 96, 128), 2, 2),
    Stage((64, 128, 192, 256), 2, 2),
)
BLOCKS = ("bottleneck", "basic")
STRIDE_IN = ("3x3", "1x1")
POOLS = (False, True, "end")


@dataclass(frozen=True)
class _Style(Style):
    """What every block of one network shares."""

    block: str
    expansion: int
    stride_in: str


class _ResidualBlock(SliceableBlock):
    """Convolutions, each with BN; the shortcut is added before the last activation.

    A bottleneck has 1x1, 3x3 and 1x1 convolutions, a basic block two of 3x3. ``old`` and ``new`` are the widths before
    and after the block at every level. The last BN begins with gamma 0: the block begins as its shortcut.
    """

    def __init__(
        self,
        style: _Style,
        kernels: Sequence[int],
        stride: int,
        old: Sequence[int],
        new: Sequence[int],
        statistics: Sequence[int],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        inner, wide = [width // style.expansion for width in new], dict[str, Any](kernel_sizes=kernels)
        if style.block == "basic":
            rows = [(new, kernels[-1], stride, wide), (new, kernels[-1], 1, wide)]
        else:
            first, second = (stride, 1) if style.stride_in == "1x1" else (1, stride)
            rows = [(inner, 1, first, {}), (inner, kernels[-1], second, wide), (new, 1, 1, {})]
        self.steps = []
        for i, (sizes, kernel, step, options) in enumerate(rows, start=1):
            last = i == len(rows)
            start = {"gamma_initializer": "zeros"} if last else {}
            self.steps += [
                SliceableConv2D(
                    sizes[-1], kernel, step, style.padding, sizes=sizes, **options, **self.child(f"conv{i}")
                ),
                style.norm(statistics, **start, **self.child(f"norm{i}")),
            ]
            if not last:
                self.steps.append(keras.layers.Activation(style.activation, **self.child(f"activation{i}")))
        self.shortcut = []
        if stride != 1 or list(old) != list(new):
            self.shortcut = [
                SliceableConv2D(new[-1], 1, stride, style.padding, sizes=new, **self.child("shortcut")),
                style.norm(statistics, **self.child("shortcut_norm")),
            ]
        self.add = keras.layers.Add(**self.child("add"))
        self.activation = keras.layers.Activation(style.activation, **self.child("activation"))

    def pairs(self) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
        """Each convolution and its BatchNorm, those of the shortcut first; of a network that is built.

        A method: Keras would save the layers by the name of a property that holds them.
        """
        layers = [layer for layer in (*self.shortcut, *self.steps) if layer.weights]
        return list(zip(layers[::2], layers[1::2], strict=True))

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """See the base class."""
        y = x
        for layer in self.steps:
            y = visitor(layer, y)
        for layer in self.shortcut:
            x = visitor(layer, x)
        return visitor(self.activation, visitor(self.add, [x, y]))


@keras.saving.register_keras_serializable("ds_keras")
class DSResNet(Supernet):
    """DS-ResNet supernet.

    The stem and the stages before the gate run at one width in every level. The gate reads what enters the gated
    stage; its attention, 1 + tanh(...), begins as the identity.

    Args:
        stem: width of the stem convolution.
        stages: rows of the architecture, widths at the blocks' output; exactly one has ``gate=True``, not the first.
        num_classes: size of the classifier.
        input_shape: (height, width, channels).
        stem_kernel: size of the stem convolution.
        stem_stride: of the stem convolution.
        stem_pool: 3x3 maximum pooling of stride 2 after the stem: False, True (with a border of one pixel), or "end"
            (a border below and to the right only, as Caffe's networks have).
        block: "bottleneck" or "basic".
        expansion: of a bottleneck: width of its output over that of its 3x3 convolution.
        stride_in: the convolution of a bottleneck that has the stride: "3x3" (version 1.5) or "1x1" (the first one).
        attention: attention in the gate.
        padding: "symmetric" as in the published networks, or "same".
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

    Source: DS-Net, arXiv 2103.13258, section 4 (DS-ResNet); ResNet: arXiv 1512.03385. One gate for the network.

    Example:
        >>> model = DSResNet.cifar(num_classes=10)
        >>> model(images, level=0).shape
        TensorShape([8, 10])
    """

    def __init__(
        self,
        stem: int,
        stages: Sequence[Stage | dict[str, Any]],
        num_classes: int = 1000,
        input_shape: Sequence[int] = (224, 224, 3),
        stem_kernel: int = 7,
        stem_stride: int = 2,
        stem_pool: bool | str = True,
        block: str = "bottleneck",
        expansion: int = 4,
        stride_in: str = "3x3",
        attention: bool = True,
        padding: str = "symmetric",
        activation: str = "relu",
        dropout: float = 0.0,
        gate_hidden: int = 0,
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
        **kwargs: Any,
    ):
        style = _Style(padding, activation, float(bn_momentum), bn_epsilon, block, expansion, stride_in)
        if block not in BLOCKS or stride_in not in STRIDE_IN:
            raise ValueError(
                f"block must be one of {BLOCKS} and stride_in one of {STRIDE_IN}, received {block!r}, {stride_in!r}"
            )
        if stem_pool not in POOLS:
            raise ValueError(f"stem_pool must be one of {POOLS}, received {stem_pool!r}")
        if padding not in ("symmetric", "same"):
            raise ValueError(f"padding must be 'symmetric' or 'same', received {padding!r}")
        table = tuple(read_stage(stage) for stage in stages)
        gated = gated_stage(table)
        if gated == 0 or any(row.teacher for row in table):
            raise ValueError(f"stages: the gate is not in the first row and no row has a teacher, received {stages!r}")
        if expansion < 1:
            raise ValueError(f"expansion must be at least 1, received {expansion!r}")
        if stem_pool and activation not in ("relu", "relu6"):  # whose zeros are the least there is
            raise ValueError(f"stem_pool pads with zeros, which suits activation 'relu' only, received {activation!r}")
        if block == "bottleneck" and any(w % expansion for row in table for w in at_levels(row.width, 1)):
            raise ValueError(f"stages: every width must be a multiple of expansion={expansion}, received {stages!r}")
        levels = slice_levels(table, gated)
        super().__init__(levels, levels[-1], num_classes, input_shape, **kwargs)
        self.stem_table: dict[str, Any] = {"stem": int(stem), "stem_kernel": int(stem_kernel)}
        pool = stem_pool if stem_pool == "end" else bool(stem_pool)
        self.stem_table |= {"stem_stride": int(stem_stride), "stem_pool": pool}
        self.stages, self.gated = table, gated
        self.gate_table: dict[str, Any] = {"attention": bool(attention), "gate_hidden": int(gate_hidden)}
        self.style, self.dropout_rate = style, float(dropout)
        self._make_layers(len(levels))

    def _make_layers(self, count: int) -> None:
        shared, private = [0] * count, list(range(count))
        named = {"dtype": self.dtype_policy}
        kernel, stride = self.stem_table["stem_kernel"], self.stem_table["stem_stride"]
        old = [self.stem_table["stem"]] * count
        self.stem = [
            SliceableConv2D(old[-1], kernel, stride, self.style.padding, sizes=old, name="stem", **named),
            self.style.norm(shared, name="stem_norm", **named),
            keras.layers.Activation(self.style.activation, name="stem_activation", **named),
        ]
        if self.stem_table["stem_pool"]:  # zeros around a ReLU's output change no maximum
            stride *= 2
            border = ((0, 1), (0, 1)) if self.stem_table["stem_pool"] == "end" else 1
            self.stem += [
                keras.layers.ZeroPadding2D(border, name="stem_pool_pad", **CHANNELS_LAST, **named),
                keras.layers.MaxPooling2D(3, 2, name="stem_pool", **CHANNELS_LAST, **named),
            ]
        self.blocks: list[list[_ResidualBlock]] = []
        self.strides = [stride]  # behind the stem and behind each stage
        for i, stage in enumerate(self.stages):
            self.strides.append(self.strides[-1] * stage.stride)
            new, blocks = at_levels(stage.width, count), []
            if i == self.gated:
                head: dict[str, Any] = {
                    "attention": self.gate_table["attention"],
                    "hidden": self.gate_table["gate_hidden"],
                }
                self.gate_block = DoubleHeadedGate(old, count, identity=True, name="gate", **head, **named)
            for j, first_level in enumerate(first_levels(at_levels(stage.depth, count))):
                step = stage.stride if j == 0 else 1
                rows = shared if i < self.gated else private
                name = f"stage{i + 1}_block{j + 1}"
                kernels = at_levels(stage.kernel, count)
                given = {"first_level": first_level, "name": name, **named}
                blocks.append(_ResidualBlock(self.style, kernels, step, old, new, rows, **given))
                old = new
            self.blocks.append(blocks)
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
        """The trunk and the classifier."""
        return self.head(visitor, self.trunk(visitor, features))

    def _run(self, visitor: Visitor, x: Any, stages: slice) -> Any:
        for blocks, stride in zip(self.blocks[stages], self.strides[1:][stages], strict=True):
            for block in blocks:
                x = visitor(block, x)
            visitor.endpoint(stride, x)
        return x

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as plain data."""
        table = {**self.stem_table, **self.gate_table, "stages": [asdict(stage) for stage in self.stages]}
        return {**super().get_config(), **table, **asdict(self.style), "dropout": self.dropout_rate}

    @classmethod
    def imagenet(cls, num_classes: int = 1000, stride_in: str = "3x3", **kwargs: Any) -> "DSResNet":
        """ResNet-50 in four widths, for 224 px.

        Args:
            num_classes: size of the classifier.
            stride_in: "3x3" is version 1.5; "1x1" is ``keras.applications.ResNet50`` (see ``ds_keras.convert``).
            **kwargs: of the constructor.

        Returns:
            DSResNet.
        """
        given = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "stride_in": stride_in}
        return cls(64, IMAGENET, num_classes, **{**given, **kwargs})

    @classmethod
    def cifar(cls, num_classes: int, input_shape: Sequence[int] = (32, 32, 3), **kwargs: Any) -> "DSResNet":
        """Four levels of basic blocks for images of about 32 px. Arguments as ``imagenet``, plus ``input_shape``."""
        small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False, "block": "basic", "padding": "same"}
        return cls(16, CIFAR, num_classes, input_shape, **{**small, **kwargs})
