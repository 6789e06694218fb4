"""The double-headed gate: a squeeze-and-excitation attention head and a slimming head on the same pooled features."""

from collections.abc import Sequence
from typing import Any

import keras

from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.visitor import SliceableBlock, Visitor
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.dense import SliceableDense


@keras.saving.register_keras_serializable("ds_keras")
class DoubleHeadedGate(SliceableBlock):
    """Attention over the channels of ``x`` and, where ``num_outputs`` is not 0, one logit for each slice level.

    pool = mean over positions; z = ReLU(W1 pool + b1); attention = sigmoid(W2 z + b2); logits = W3 z.
    With ``identity``, attention = 1 + tanh(W2 z + b2) and W2 = 0 at the start: it begins as 1.
    With ``hidden``, or without attention, the slimming head has a branch of its own on the pooled features:
    logits = W3 ReLU(W4 pool + b4), so that training it leaves the attention as it is.

    Args:
        sizes: channels of ``x`` at every slice level.
        num_outputs: number of slice levels to choose from; 0 leaves only the attention.
        reduced: width of z.
        attention: False leaves ``x`` as it is.
        hidden: width of the slimming head's own hidden layer; 0 reads z (or the pooled features) directly.
        identity: attention that begins as 1.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, height, width, channels).
        level: int or scalar integer tensor.
        Returns the attended x, and with ``num_outputs`` also the logits (batch, num_outputs).

    Source: DS-Net, arXiv 2103.13258, section 3.2; sigmoid and sizes as in the released DS-MBNet, 1 + tanh
    as in the paper's text; the hidden layer is ours.

    Example:
        >>> gate = DoubleHeadedGate(sizes=[32, 64], num_outputs=2, reduced=16)
        >>> gate.build((None, 8, 8, 64))
        >>> y, logits = gate(tf.ones([1, 8, 8, 32]), level=0)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        num_outputs: int = 0,
        reduced: int | None = None,
        attention: bool = True,
        hidden: int = 0,
        identity: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.identity = bool(identity)
        self.sizes = [int(size) for size in sizes]
        self.num_outputs = int(num_outputs)
        self.reduced = int(reduced or max(1, int(0.25 * max(self.sizes) + 0.5)))
        self.attention = bool(attention)
        self.hidden = int(hidden)
        count = len(self.sizes)
        self.pool = keras.layers.GlobalAveragePooling2D(keepdims=True, **CHANNELS_LAST, **self.child("pool"))
        if self.attention:
            self.reduce = SliceableConv2D(
                self.reduced, 1, use_bias=True, sizes=[self.reduced] * count, **self.child("reduce")
            )
            self.relu = keras.layers.ReLU(**self.child("relu"))
            start: dict[str, Any] = {"kernel_initializer": "zeros"} if self.identity else {}
            self.expand = SliceableConv2D(
                max(self.sizes), 1, use_bias=True, sizes=self.sizes, **start, **self.child("expand")
            )
            squash = "tanh" if self.identity else "sigmoid"
            self.squash = keras.layers.Activation(squash, **self.child(squash))
            self.multiply = keras.layers.Multiply(**self.child("multiply"))
            self.add = keras.layers.Add(**self.child("add")) if self.identity else None
        if self.num_outputs:
            self.slimming_head = SlimmingHead(count, self.num_outputs, self.hidden, **self.child("slimming_head"))

    def attend(self, visitor: Visitor, x: Any) -> tuple[Any, Any]:
        """The attended x, and what ``logits`` reads."""
        if not self.attention:
            return x, x
        pooled = visitor(self.pool, x)
        z = visitor(self.relu, visitor(self.reduce, pooled))
        y = visitor(self.multiply, [x, visitor(self.squash, visitor(self.expand, z))])
        return (visitor(self.add, [x, y]) if self.identity else y), (pooled if self.hidden else z)

    def logits(self, visitor: Visitor, features: Any) -> Any:
        """The slimming head, on what ``attend`` gave."""
        return visitor(self.slimming_head, features if self.attention else visitor(self.pool, features))

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """See the base class."""
        x, features = self.attend(visitor, x)
        return (x, self.logits(visitor, features)) if self.num_outputs else x

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "sizes": self.sizes,
            "num_outputs": self.num_outputs,
            "reduced": self.reduced,
            "attention": self.attention,
            "hidden": self.hidden,
            "identity": self.identity,
        }


@keras.saving.register_keras_serializable("ds_keras")
class SlimmingHead(SliceableBlock):
    """Logits of the slice levels from the gate's features: the only part that Stage II trains.

    Args:
        num_levels: number of slice levels of the supernet, the teacher's included.
        num_outputs: number of levels to choose from.
        hidden: width of a hidden layer, or 0.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, 1, 1, features). Returns (batch, num_outputs).

    Source: DS-Net, arXiv 2103.13258, section 3.2 (linear, no bias); the hidden layer is ours.
    """

    def __init__(self, num_levels: int, num_outputs: int, hidden: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_levels, self.num_outputs, self.hidden = int(num_levels), int(num_outputs), int(hidden)
        self.flatten = keras.layers.Flatten(**CHANNELS_LAST, **self.child("flatten"))
        if self.hidden:
            self.dense = SliceableDense(self.hidden, sizes=[self.hidden] * self.num_levels, **self.child("dense"))
            self.relu = keras.layers.ReLU(**self.child("relu"))
        self.logits = SliceableDense(
            self.num_outputs,
            use_bias=self.hidden > 0,
            sizes=[self.num_outputs] * self.num_levels,
            **self.child("logits"),
        )

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """See the base class."""
        x = visitor(self.flatten, x)
        if self.hidden:
            x = visitor(self.relu, visitor(self.dense, x))
        return visitor(self.logits, x)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_levels": self.num_levels,
            "num_outputs": self.num_outputs,
            "hidden": self.hidden,
        }
