"""DS-ViT: a vision transformer whose blocks are sliced in embedding, heads and MLP, with an idle rest of the stream."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import spend
from ds_keras.core.levels import SliceLevel, first_levels
from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.visitor import SliceableBlock, Visitor
from ds_keras.layers.attention import SliceableMultiHeadAttention
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.dense import SliceableDense
from ds_keras.layers.gate import DoubleHeadedGate
from ds_keras.layers.layer_norm import SliceableLayerNormalization
from ds_keras.layers.tokens import ActiveSlice, FirstToken, Gelu, Regrid, RejoinIdle, SliceablePositionEmbedding
from ds_keras.models.supernet import Supernet


@dataclass(frozen=True)
class Row:
    """What one level uses of every block after the gate.

    Args:
        width: features of the stream that the blocks read and write; the last level's is the stream's.
        heads: of the attention.
        mlp: hidden width of the MLP.
        depth: blocks after the gate that the level runs, the first ones; None for all.
    """

    width: int
    heads: int
    mlp: int
    depth: int | None = None


# DeiT-Ti and DeiT-S (arXiv 2012.12877) at their largest level; the smaller levels are ours.
TINY = (Row(64, 1, 256), Row(128, 2, 512), Row(192, 3, 768))
SMALL = (Row(128, 2, 512), Row(192, 3, 768), Row(256, 4, 1024), Row(384, 6, 1536))
# Ours, for 32 px.
CIFAR = (Row(48, 1, 96), Row(80, 2, 160), Row(112, 3, 224), Row(128, 4, 256))


class _Block(SliceableBlock):
    """LayerNorm, attention, add; LayerNorm, MLP, add: on the active part of the stream. One row for each level."""

    def __init__(self, rows: Sequence[Row], head_size: int, epsilon: float, **kwargs: Any):
        super().__init__(**kwargs)
        width, heads, mlp = ([getattr(row, name) for row in rows] for name in ("width", "heads", "mlp"))
        # Branches begin near 0: the stream keeps the scale of its start through the depth.
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.norm1 = SliceableLayerNormalization(width, epsilon, **self.child("norm1"))
        self.attention = SliceableMultiHeadAttention(
            heads[-1], head_size, sizes=heads, kernel_initializer=small, **self.child("attention")
        )
        self.add1 = keras.layers.Add(**self.child("add1"))
        self.norm2 = SliceableLayerNormalization(width, epsilon, **self.child("norm2"))
        options = [{"sizes": sizes, "kernel_initializer": small.clone()} for sizes in (mlp, width)]
        self.expand = SliceableDense(mlp[-1], **options[0], **self.child("expand"))
        self.gelu = Gelu(**self.child("gelu"))
        self.project = SliceableDense(width[-1], **options[1], **self.child("project"))
        self.add2 = keras.layers.Add(**self.child("add2"))

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """See the base class."""
        x = visitor(self.add1, [x, visitor(self.attention, visitor(self.norm1, x))])
        y = visitor(self.gelu, visitor(self.expand, visitor(self.norm2, x)))
        return visitor(self.add2, [x, visitor(self.project, y)])


@keras.saving.register_keras_serializable("ds_keras")
class DSViT(Supernet):
    """DS-ViT supernet.

    Patch embedding and the first ``shared_depth`` blocks run in full in every level; the gate reads the mean token.
    After it the blocks of a level read, compute and write the first ``width`` features of the stream only; the rest
    lies idle, and the final norm and the classifier read the whole stream (dynamic idle slicing).

    Args:
        rows: the levels, smallest first: a ``Row`` each.
        depth: number of blocks, the shared ones included.
        shared_depth: blocks before the gate.
        head_size: features of a head.
        num_classes: size of the classifier.
        input_shape: (height, width, channels), multiples of the patch; other sizes do not run.
        patch: side of a patch, the product of the stem's strides.
        stem: filters of 3x3 convolutions of BN and ReLU before the embedding: the first of stride 1, then stride 2; the
            embedding is the last of them. () embeds patches by one convolution without overlap.
        class_token: classify by a class token; else by the mean of the tokens.
        attention: attention of the gate, 1 + tanh(...), which begins as the identity.
        dropout: rate before the classifier, for Stage I's largest pass only.
        gate_hidden: width of the slimming head's hidden layer; 0 reads the features directly.
        norm_epsilon: of LayerNorm.
        bn_momentum: of the stem's moving averages.
        **kwargs: see ``Supernet``.

    Call:
        See ``Supernet.call``: images in [0, 255]; ``level=`` or routed.

    Raises:
        ValueError: rows that do not describe nested levels, or a patch that does not fit.

    Source: DS-Net++, arXiv 2109.10060. Rows, gate, LayerNorm and the exact form of idle slicing are ours.

    Example:
        >>> model = DSViT.cifar(num_classes=10)
        >>> model(images, level=0).shape
        TensorShape([8, 10])
    """

    def __init__(
        self,
        rows: Sequence[Row | dict[str, int]],
        depth: int,
        shared_depth: int = 1,
        head_size: int = 64,
        num_classes: int = 1000,
        input_shape: Sequence[int] = (224, 224, 3),
        patch: int = 16,
        stem: Sequence[int] = (),
        class_token: bool = True,
        attention: bool = True,
        dropout: float = 0.0,
        gate_hidden: int = 0,
        norm_epsilon: float = 1e-6,
        bn_momentum: float = 0.9,
        **kwargs: Any,
    ):
        if not 0 <= shared_depth < depth:
            raise ValueError(f"shared_depth must be in [0, depth={depth}), received {shared_depth!r}")
        if patch < 1 or any(size % patch for size in input_shape[:2]) or (stem and 2 ** len(stem) != patch):
            raise ValueError(
                f"patch must divide the image and be 2 ** len(stem) where there is a stem, received {patch!r} "
                f"with input_shape={tuple(input_shape)!r}, stem={tuple(stem)!r}"
            )
        checked = _read_rows(rows, depth - shared_depth)
        levels = tuple(SliceLevel(k, _ratios(row, checked[-1])) for k, row in enumerate(checked))
        super().__init__(levels, levels[-1], num_classes, input_shape, **kwargs)
        self.rows = checked
        self.depths = [row.depth or depth - shared_depth for row in checked]  # behind the gate
        self.table: dict[str, Any] = {
            "depth": int(depth),
            "shared_depth": int(shared_depth),
            "head_size": int(head_size),
        }
        self.table |= {"patch": int(patch), "stem": [int(f) for f in stem], "class_token": bool(class_token)}
        self.table |= {"attention": bool(attention), "gate_hidden": int(gate_hidden)}
        self.table |= {"norm_epsilon": float(norm_epsilon), "bn_momentum": float(bn_momentum)}
        self.dropout_rate = float(dropout)
        self._make_layers(len(levels))

    def _make_layers(self, count: int) -> None:
        table, named = self.table, {"dtype": self.dtype_policy}
        width = self.rows[-1].width
        constant, grid = [width] * count, [n // table["patch"] for n in self.image_shape[:2]]
        self.stem = []
        for i, filters in enumerate(table["stem"], start=1):
            stride = 1 if i == 1 else 2
            self.stem += [
                SliceableConv2D(filters, 3, stride, sizes=[filters] * count, name=f"stem{i}", **named),
                SliceableBatchNormalization(count, [0] * count, table["bn_momentum"], name=f"stem{i}_norm", **named),
                keras.layers.ReLU(name=f"stem{i}_relu", **named),
            ]
        kernel, stride = (3, 2) if self.stem else (table["patch"], table["patch"])
        self.embed = SliceableConv2D(width, kernel, stride, use_bias=True, sizes=constant, name="embed", **named)
        self.flatten = Regrid((grid[0] * grid[1], width), name="tokens", **named)
        self.positions = SliceablePositionEmbedding(table["class_token"], constant, name="positions", **named)
        tokens = grid[0] * grid[1] + table["class_token"]
        self.gate_grid = Regrid((tokens, 1, width), name="gate_grid", **named)
        head = {"attention": table["attention"], "hidden": table["gate_hidden"]}
        self.gate_block = DoubleHeadedGate(constant, count, identity=True, name="gate", **head, **named)
        self.gate_tokens = Regrid((tokens, width), name="gate_tokens", **named)
        self.active = ActiveSlice(width, [row.width for row in self.rows], name="active", **named)
        self.blocks = []
        spend(layers=table["shared_depth"])
        for i, first_level in enumerate([0] * table["shared_depth"] + first_levels(self.depths)):
            rows = [self.rows[-1]] * count if i < table["shared_depth"] else self.rows
            given = {"first_level": first_level, "name": f"block{i + 1}", **named}
            self.blocks.append(_Block(rows, table["head_size"], table["norm_epsilon"], **given))
        self.rejoin = RejoinIdle(name="rejoin", **named)
        patches = keras.layers.Cropping1D((int(table["class_token"]), 0), name="patches", **named)
        in_grid = [patches, Regrid((*grid, width), name="patch_grid", **named)]
        self.__dict__.update(in_grid=in_grid)  # past Keras: they have no weights, and only ``endpoints`` runs them
        self.norm = SliceableLayerNormalization(constant, table["norm_epsilon"], name="norm", **named)
        average = functools.partial(keras.layers.GlobalAveragePooling1D, **CHANNELS_LAST)
        self.make_head(count, FirstToken if table["class_token"] else average)

    def check_images(self, x: Any) -> tf.Tensor:
        """As the base class; the height and width are the model's own, because every position has its vector."""
        x = super().check_images(x)
        self.check_size(x)
        return tf.ensure_shape(x, [None, *self.image_shape])

    def start(self, visitor: Visitor, x: Any) -> tuple[Any, Any]:
        """Stem, patch embedding, positions, the shared blocks, and the gate's attention."""
        x = visitor(self.rescale, x)
        for i, layer in enumerate(self.stem):
            x = visitor(layer, x)
            visitor.endpoint(2 ** (i // 3), x)  # three layers for each convolution, the first of stride 1
        x = visitor(self.embed, x)
        x = visitor(self.positions, visitor(self.flatten, x))
        for block in self.blocks[: self.table["shared_depth"]]:
            x = visitor(block, x)
        x, features = self.gate_block.attend(visitor, visitor(self.gate_grid, x))
        return visitor(self.gate_tokens, x), features

    def gate(self, visitor: Visitor, features: Any) -> Any:
        """The slimming head, on the mean token."""
        return self.gate_block.logits(visitor, features)

    def gate_layer(self) -> keras.layers.Layer:
        """See the base class."""
        return self.gate_block.slimming_head

    def trunk(self, visitor: Visitor, features: Any) -> Any:
        """The blocks on the active part of the stream, and the norm on the whole of it."""
        x = visitor(self.active, features)
        for block in self.blocks[self.table["shared_depth"] :]:
            x = visitor(block, x)
        x = visitor(self.norm, visitor(self.rejoin, [features, x]))
        visitor.endpoint(self.table["patch"], x)
        return x

    def body(self, visitor: Visitor, features: Any) -> Any:
        """The trunk and the classifier."""
        return self.head(visitor, self.trunk(visitor, features))

    def endpoints(self, visitor: Visitor, x: Any) -> dict[int, Any]:
        """As the base class; the tokens behind the final norm, in their grid, are those of the patch's stride."""
        found, patch = super().endpoints(visitor, x), self.table["patch"]
        for layer in self.in_grid:
            found[patch] = visitor(layer, found[patch])
        return found

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, as plain data."""
        rows = [asdict(row) for row in self.rows]
        return {**super().get_config(), **self.table, "rows": rows, "dropout": self.dropout_rate}

    @classmethod
    def imagenet(cls, num_classes: int = 1000, size: str = "tiny", **kwargs: Any) -> "DSViT":
        """DeiT-Ti or DeiT-S for 224 px, patches of 16.

        Args:
            num_classes: size of the classifier.
            size: "tiny" or "small".
            **kwargs: of the constructor.

        Returns:
            DSViT.

        Raises:
            ValueError: unknown size.
        """
        if size not in ("tiny", "small"):
            raise ValueError(f"size must be 'tiny' or 'small', received {size!r}")
        mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
        given = {"depth": 12, "shared_depth": 2, "mean": mean, "std": std}
        return cls(TINY if size == "tiny" else SMALL, num_classes=num_classes, **{**given, **kwargs})

    @classmethod
    def cifar(cls, num_classes: int, input_shape: Sequence[int] = (32, 32, 3), **kwargs: Any) -> "DSViT":
        """Four levels for images of about 32 px. Arguments as ``imagenet``, plus ``input_shape``."""
        # The gate follows the stem: one shared block would cost more than all blocks of the smallest level.
        small = {"depth": 7, "shared_depth": 0, "head_size": 32, "patch": 4, "stem": (16, 32), "class_token": False}
        return cls(CIFAR, num_classes=num_classes, input_shape=input_shape, **{**small, **kwargs})


def _ratios(row: Row, full: Row) -> dict[str, float]:
    """The slice ratios of a level; of the depth only where the levels differ."""
    ratios = {"embedding": row.width / full.width, "heads": row.heads / full.heads, "mlp": row.mlp / full.mlp}
    return ratios if row.depth is None or full.depth is None else {**ratios, "depth": row.depth / full.depth}


def _read_rows(rows: Sequence[Row | dict[str, int]], blocks: int) -> tuple[Row, ...]:
    """The rows, as ``Row`` each, after checking that they describe nested levels of a number of blocks."""
    try:
        read = tuple(row if isinstance(row, Row) else Row(**row) for row in rows)
    except TypeError as error:
        raise ValueError(f"rows must have the fields of Row, received {rows!r}: {error}") from None
    if len(read) < 2:
        raise ValueError(f"rows must have at least two levels, received {len(read)}")
    for name in ("width", "heads", "mlp"):
        values = [getattr(row, name) for row in read]
        if values != sorted(values) or values[0] < 1:
            raise ValueError(f"rows: {name} must be positive and must not decrease, received {values}")
    depths: list[Any] = [row.depth for row in read]
    if any(depth is not None for depth in depths) and (
        not all(type(depth) is int for depth in depths) or depths != sorted(depths) or depths[-1] != blocks
    ):
        raise ValueError(
            f"rows: depth must be None in all, or ints that do not decrease up to the {blocks} blocks after the gate, "
            f"received {depths}"
        )
    if depths[0] is not None and depths[0] < 1:
        raise ValueError(f"rows: depth must be at least 1, received {depths}")
    return read
