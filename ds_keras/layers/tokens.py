"""What a vision transformer does with its tokens around the blocks: positions, the idle part, the head's input."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ds_keras.core.rescale import CHANNELS_LAST
from ds_keras.core.sliceable import Shape, SliceableLayer, input_channels


@keras.saving.register_keras_serializable("ds_keras")
class SliceablePositionEmbedding(SliceableLayer):
    """Adds a learned vector to every token; with ``class_token`` a token that is nothing else comes first.

    Args:
        class_token: put a token of zeros in front.
        sizes: features at every slice level, for calls with ``level=``.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, tokens, features) float, tokens as built, features up to the built ones.
        slice_ratio: Python float or scalar tensor in (0, 1], which must agree with ``x``.
        level: int or scalar integer tensor, instead of the ratio.
        Returns (batch, tokens (+ 1), features).

    Raises:
        ValueError: other features or tokens.

    Source: vision transformer, arXiv 2010.11929.

    Example:
        >>> positions = SliceablePositionEmbedding(class_token=True)
        >>> positions.build((None, 64, 192))
        >>> positions(tf.ones([1, 64, 96]), slice_ratio=0.5).shape
        TensorShape([1, 65, 96])
    """

    def __init__(self, class_token: bool = False, sizes: Sequence[int] | None = None, **kwargs: Any):
        super().__init__(sizes=sizes, **kwargs)
        self.class_token = bool(class_token)

    def build(self, input_shape: Shape) -> None:
        """Creates the table for ``input_shape[1]`` tokens."""
        _, tokens, features = input_shape
        self._check_sizes(int(features), "features")
        shape = (int(tokens) + self.class_token, int(features))
        self.table = self.add_kernel("table", shape, keras.initializers.TruncatedNormal(stddev=0.02))
        self.built = True

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Adds the table."""
        features = self.same_size(x, self.table.shape[1], slice_ratio, level)
        if x.shape[1] not in (None, self.table.shape[0] - self.class_token):
            raise ValueError(
                f"{self.name}: x must have {self.table.shape[0] - self.class_token} tokens, received {x.shape[1]}"
            )
        x = tf.cast(x, self.compute_dtype)
        if self.class_token:
            x = tf.pad(x, [[0, 0], [1, 0], [0, 0]])
        return x + self.cut(self.table, [self.table.shape[0], features])

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (input_shape[0], input_shape[1] + self.class_token, input_shape[2])

    def weight_slices(self, input_shape: Shape, level: int) -> list:
        """See the base class."""
        return [("table", (input_shape[1] + self.class_token, input_shape[2]))]

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """A ``keras.layers.Embedding`` of the positions, added."""
        table = self.numpy_weights(input_shape, level)[0]

        def forward(x: Any) -> Any:
            if self.class_token:
                x = keras.layers.ZeroPadding1D((1, 0), name=f"{name}_class_token", **CHANNELS_LAST)(x)
            embedding = keras.layers.Embedding(*table.shape, name=name)
            # A numpy array: TensorFlow makes a larger tensor an input of the function that an exporter traces.
            positions = ops.cast(ops.zeros_like(x[:1, :, 0]), "int32") + np.arange(len(table), dtype="int32")
            vectors = embedding(positions)
            embedding.set_weights([table])
            return keras.layers.Add(name=f"{name}_add")([x, vectors])

        return [(forward, [])]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "class_token": self.class_token}


class _Weightless(SliceableLayer):
    """A sliceable layer without weights."""

    def build(self, input_shape: Any) -> None:
        """There is nothing to create."""
        self.built = True

    def weight_slices(self, input_shape: Any, level: int) -> list:
        """See the base class."""
        return []


@keras.saving.register_keras_serializable("ds_keras")
class Regrid(_Weightless):
    """Gives every image another shape. Unlike ``keras.layers.Reshape`` its export keeps the batch free.

    Args:
        target: shape of one image.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, ...). Returns (batch, *target).

    Example:
        >>> Regrid((64, 128))(tf.ones([2, 8, 8, 128])).shape
        TensorShape([2, 64, 128])
    """

    def __init__(self, target: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.target = tuple(int(size) for size in target)

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Reshapes."""
        if None not in x.shape[1:] and math.prod(x.shape[1:]) != math.prod(self.target):
            raise ValueError(f"{self.name}: an image of shape {tuple(x.shape[1:])} cannot become {self.target}")
        return tf.reshape(x, (-1, *self.target))

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (input_shape[0], *self.target)

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """``keras.ops.reshape``."""
        return [(lambda x: ops.reshape(x, (-1, *self.target)), [])]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "target": list(self.target)}


@keras.saving.register_keras_serializable("ds_keras")
class ActiveSlice(_Weightless):
    """The first features of a stream: what a level reads of it.

    Args:
        features: of the stream.
        sizes: features that are read at every slice level, for calls with ``level=``.
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, tokens, features).
        slice_ratio: Python float or scalar tensor in (0, 1].
        level: int or scalar integer tensor, instead of the ratio.
        Returns (batch, tokens, ratio x features).

    Source: dynamic idle slicing, DS-Net++, arXiv 2109.10060; our reading, see ``DSViT``.

    Example:
        >>> ActiveSlice(128)(tf.ones([1, 64, 128]), slice_ratio=0.5).shape
        TensorShape([1, 64, 64])
    """

    def __init__(self, features: int, sizes: Sequence[int] | None = None, **kwargs: Any):
        super().__init__(sizes=sizes, **kwargs)
        self._check_sizes(features, "features")
        self.features = int(features)

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Cuts the active part."""
        return x[..., : self.output_size(self.features, slice_ratio, level)]

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (*input_shape[:-1], self.size_at(level))

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """The same cut."""
        size = self.size_at(level)
        return [] if size == self.features else [(lambda x: x[..., :size], [])]

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "features": self.features}


@keras.saving.register_keras_serializable("ds_keras")
class RejoinIdle(_Weightless):
    """The whole stream again: the active part as the blocks left it, then what lay idle.

    Args:
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: [stream before the blocks (batch, tokens, features), active part (batch, tokens, active features)]; the
            sizes follow from it, ``slice_ratio`` and ``level`` are not read.
        Returns (batch, tokens, features).

    Source: dynamic idle slicing, DS-Net++, arXiv 2109.10060; our reading, see ``DSViT``.

    Example:
        >>> RejoinIdle()([tf.zeros([1, 64, 128]), tf.ones([1, 64, 32])]).shape
        TensorShape([1, 64, 128])
    """

    def call(self, x: list, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Joins the two parts."""
        stream, active = x
        size = input_channels(self, active, stream.shape[-1])
        joined = tf.concat([active, tf.cast(stream[..., size:], active.dtype)], axis=-1)
        return tf.ensure_shape(joined, stream.shape)

    def output_shape_at(self, input_shape: Any, level: int) -> Shape:
        """See the base class."""
        return tuple(input_shape[0])

    def plain(self, input_shape: Any, level: int, name: str) -> list:
        """A ``keras.layers.Concatenate``; nothing where no part is idle."""
        size = input_shape[1][-1]
        if size == input_shape[0][-1]:
            return [(lambda x: x[1], [])]
        return [(lambda x: keras.layers.Concatenate(name=name)([x[1], x[0][..., size:]]), [])]


@keras.saving.register_keras_serializable("ds_keras")
class FirstToken(_Weightless):
    """The first token, which is the class token.

    Args:
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: (batch, tokens, features). Returns (batch, features).

    Source: vision transformer, arXiv 2010.11929.

    Example:
        >>> FirstToken()(tf.ones([1, 65, 96])).shape
        TensorShape([1, 96])
    """

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Picks the token."""
        return x[:, 0]

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return (input_shape[0], input_shape[2])

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """The same pick."""
        return [(lambda x: x[:, 0], [])]


@keras.saving.register_keras_serializable("ds_keras")
class Gelu(_Weightless):
    """GELU in its tanh form, which every exporter accepts (the exact form becomes ``Erfc`` in ONNX).

    Args:
        **kwargs: of ``keras.layers.Layer``.

    Call:
        x: any shape, which is kept.

    Source: arXiv 1606.08415.

    Example:
        >>> Gelu()(tf.zeros([1, 4]))
    """

    def call(self, x: tf.Tensor, slice_ratio: Any = None, level: Any = None, training: bool = False) -> tf.Tensor:
        """Applies it."""
        return tf.nn.gelu(tf.cast(x, self.compute_dtype), approximate=True)

    def output_shape_at(self, input_shape: Shape, level: int) -> Shape:
        """See the base class."""
        return tuple(input_shape)

    def plain(self, input_shape: Shape, level: int, name: str) -> list:
        """``keras.ops.gelu``."""
        return [(lambda x: ops.gelu(x, approximate=True), [])]
