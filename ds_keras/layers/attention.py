"""Multi-head self-attention that runs with the first heads."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ds_keras.core.sliceable import Shape, SliceableLayer, input_channels

PROJECTIONS = ("query", "key", "value")


@keras.saving.register_keras_serializable("ds_keras")
class SliceableMultiHeadAttention(SliceableLayer):
    """Self-attention with the first heads, on the features that ``x`` has; the size of a head is fixed.

    Args:
        heads: full number of heads.
        head_size: features of a head.
        sizes: heads at every slice level, for calls with ``level=``.
        kernel_initializer: Keras initializer.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, tokens, features) float, features up to the built ones.
        slice_ratio: Python float or scalar tensor in (0, 1]: share of the heads.
        level: int or scalar integer tensor, instead of the ratio.
        Returns (batch, tokens, features).

    Raises:
        ValueError: bad sizes, ratio, level or features.

    Source: DS-Net++, arXiv 2109.10060 (number of heads, QKV width); fixed head size: Scala, NeurIPS 2024.

    Example:
        >>> attention = SliceableMultiHeadAttention(heads=4, head_size=32)
        >>> attention.build((None, 64, 128))
        >>> attention(tf.ones([1, 64, 96]), slice_ratio=0.5).shape
        TensorShape([1, 64, 96])
    """

    def __init__(
        self,
        heads: int,
        head_size: int,
        sizes: Sequence[int] | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(sizes=sizes, **kwargs)
        self._check_sizes(heads, "heads")
        if not isinstance(head_size, int) or head_size < 1:
            raise ValueError(f"head_size must be a positive integer, received {head_size!r}")
        self.heads, self.head_size = int(heads), head_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        """Creates the full kernels for ``input_shape[-1]`` features."""
        features, width = int(input_shape[-1]), self.heads * self.head_size
        for name in PROJECTIONS:
            setattr(
                self, f"{name}_kernel", self.add_kernel(f"{name}_kernel", (features, width), self._initializer(name))
            )
        # No bias of the keys: it adds the same to all scores of a query, which the softmax takes away again.
        self.query_bias = self.add_kernel("query_bias", (width,), "zeros")
        self.value_bias = self.add_kernel("value_bias", (width,), "zeros")
        self.output_kernel = self.add_kernel("output_kernel", (width, features), self._initializer("output"))
        self.output_bias = self.add_kernel("output_bias", (features,), "zeros")
        self.built = True

    def _initializer(self, name: str) -> keras.initializers.Initializer:
        """A copy for each kernel; where the initializer has a fixed seed, each kernel has one of its own."""
        config = self.kernel_initializer.get_config()
        if isinstance(config.get("seed"), int):
            config["seed"] += [*PROJECTIONS, "output"].index(name)
        return type(self.kernel_initializer).from_config(config)

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Attends with the active heads."""
        heads = self.output_size(self.heads, slice_ratio, level)
        x = tf.cast(x, self.compute_dtype)
        features, width = input_channels(self, x, self.output_kernel.shape[1]), heads * self.head_size
        projected = []
        for name in PROJECTIONS:
            y = tf.tensordot(x, self.cut(getattr(self, f"{name}_kernel"), [features, width]), 1)
            projected.append(y if name == "key" else y + self.cut(getattr(self, f"{name}_bias"), [width]))
        query, key, value = projected
        y = attend(query, key, value, heads, self.head_size)
        return tf.tensordot(y, self.cut(self.output_kernel, [width, features]), 1) + self.cut(
            self.output_bias, [features]
        )

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return tuple(input_shape)

    def madds_at(self, input_shape: Shape, level: int) -> int:
        """Four projections, scores and weighted sum."""
        _, tokens, features = input_shape
        width = self.size_at(level) * self.head_size
        return 4 * tokens * features * width + 2 * tokens * tokens * width

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        features, width = input_shape[-1], self.size_at(level) * self.head_size
        slices = []
        for name in PROJECTIONS:
            slices += [(f"{name}_kernel", (features, width))] + [(f"{name}_bias", (width,))] * (name != "key")
        return [*slices, ("output_kernel", (width, features)), ("output_bias", (features,))]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """Four ``keras.layers.Dense`` around the attention itself."""
        names = [weight for weight, _ in self.weight_slices(input_shape, level)]
        weights = dict(zip(names, self.numpy_weights(input_shape, level), strict=True))
        heads = self.size_at(level)

        def dense(part: str, x: Any) -> Any:
            own = [weights[f"{part}_{kind}"] for kind in ("kernel", "bias") if f"{part}_{kind}" in weights]
            layer = keras.layers.Dense(own[0].shape[1], use_bias=len(own) == 2, name=f"{name}_{part}")
            y = layer(x)
            layer.set_weights(own)
            return y

        def forward(x: Any) -> Any:
            projected = [dense(part, x) for part in PROJECTIONS]
            query, key, value = projected
            each = [_attend_one(query, key, value, i * self.head_size, self.head_size) for i in range(heads)]
            joined = each[0] if heads == 1 else keras.layers.Concatenate(name=f"{name}_heads")(each)
            return dense("output", joined)

        return [(forward, [])]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "heads": self.heads,
            "head_size": self.head_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, heads: Any, head_size: int) -> tf.Tensor:
    """Scaled dot-product attention of every head.

    Args:
        query: (batch, tokens, heads x head_size).
        key: likewise.
        value: likewise.
        heads: int, or scalar int32 tensor.
        head_size: features of a head.

    Returns:
        (batch, tokens, heads x head_size).
    """
    tokens = tf.shape(query)[1] if query.shape[1] is None else query.shape[1]

    def split(x: tf.Tensor, order: tuple[int, ...]) -> tf.Tensor:
        return tf.transpose(tf.reshape(x, (-1, tokens, heads, head_size)), order)

    scores = tf.matmul(split(query * head_size**-0.5, (0, 2, 1, 3)), split(key, (0, 2, 3, 1)))
    mixed = tf.matmul(tf.nn.softmax(scores), split(value, (0, 2, 1, 3)))
    return tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, tokens, heads * head_size))


def _attend_one(query: Any, key: Any, value: Any, first: int, size: int) -> Any:
    """One head, on Keras' symbolic tensors: no reshape, which a converter would fix to its batch size."""
    query, key, value = (part[..., first : first + size] for part in (query, key, value))
    scores = ops.matmul(query * size**-0.5, ops.transpose(key, (0, 2, 1)))
    return ops.matmul(ops.softmax(scores), value)
