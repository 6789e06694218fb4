"""The visitor over a network, and the blocks that it unfolds.

The forward pass of a network is written once, as ``forward(visitor, x)``. The visitor decides what happens at each
layer: ``Compute`` runs it; others (cost, build, export, calibration) propagate shapes, make the plain Keras
layer that holds the slices, or collect batch statistics. The slice level travels in the visitor, as an argument.
"""

import contextlib
import operator
from typing import Any

import keras
import tensorflow as tf

from ds_keras.core.backend import replicas, rows_of_replica, spend
from ds_keras.core.levels import Level, LevelTensor
from ds_keras.core.sliceable import Shape, SliceableLayer


class Visitor:
    """One pass over a network at one slice level.

    Args:
        level: int or ``LevelTensor``: already checked.
    """

    def __init__(self, level: Level):
        self.level = level
        self.endpoints: dict[int, Any] = {}

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        """Applies ``layer`` to ``x``; a block unfolds into its layers, where the level has it."""
        if not isinstance(layer, SliceableBlock):
            return self.apply(layer, x)
        if isinstance(self.level, int):
            return x if 0 <= self.level < layer.first_level else layer.forward(self, x)
        return self.perhaps(layer, x) if layer.first_level else layer.forward(self, x)

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """Applies one layer that is not a block."""
        raise TypeError(f"{type(self).__name__} does not define apply()")

    def perhaps(self, block: "SliceableBlock", x: Any) -> Any:
        """Applies a block that smaller levels lack, at a level that is known at run time only."""
        raise TypeError(f"{type(self).__name__} does not define perhaps()")

    def endpoint(self, stride: int, x: Any) -> None:
        """Called by the network with its features after each block; ``endpoints`` keeps the last of every stride."""
        self.endpoints[stride] = x


class Compute(Visitor):
    """Runs the layers on tensors.

    Args:
        level: int or ``LevelTensor``.
        training: batch statistics in BatchNorm (and moving averages updated).
        dropout: (2,) integer seed with which dropout layers act, or None.
    """

    def __init__(self, level: Level, training: bool = False, dropout: tf.Tensor | None = None):
        super().__init__(level)
        self.training = training
        self.dropout = dropout

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """Runs ``layer``."""
        if isinstance(layer, SliceableLayer):
            return self.run(layer, x)
        if isinstance(layer, keras.layers.Dropout):
            if self.dropout is None or not layer.rate:
                return x
            if replicas() == 1:
                return tf.nn.experimental.stateless_dropout(x, layer.rate, self.dropout)
            seed, shape = self.dropout, x.shape[1:]
            drawn = rows_of_replica(lambda rows: tf.random.stateless_uniform([rows, *shape], seed), tf.shape(x)[0])
            return tf.where(drawn >= layer.rate, x / (1 - layer.rate), 0)
        return layer(x)

    def run(self, layer: SliceableLayer, x: Any, **options: Any) -> Any:
        """Runs a sliceable layer.

        A tensor goes to the layer's ``call``: it casts what it takes and has no masks, so what Keras does around each
        call would only cost time. Symbolic tensors, layers without weights yet, and a loss of the layer's own need it.
        """
        if not layer.built or not tf.is_tensor(x) or layer.activity_regularizer is not None:
            return layer(x, level=self.level, training=self.training, **options)
        with tf.name_scope(layer.name):
            return layer.call(x, level=self.level, training=self.training, **options)

    def perhaps(self, block: "SliceableBlock", x: Any) -> Any:
        """A conditional; what each of its branches makes stays in there."""
        if not isinstance(self.level, LevelTensor):
            raise ValueError(
                f"{block.name}: levels below {block.first_level} lack the block, so level must be an int or a "
                f"LevelTensor, received {self.level!r}"
            )
        x = self.rounded(x)
        visitor = type(self)(self.level.copy(), self.training, self.dropout)
        has = self.level.tensor >= block.first_level
        return tf.cond(has, lambda: visitor.rounded(block.forward(visitor, x)), lambda: x)

    def rounded(self, x: Any) -> Any:
        """``x`` as the next operator reads it: as it is, but where int8 is simulated (``quantization.Rounding``)."""
        return x


class SliceableBlock(keras.layers.Layer):
    """A group of layers whose forward pass is written once as ``forward(visitor, x)``.

    Callable as a layer too: ``block(x, level=1)``.

    Args:
        first_level: smaller levels go on without the block, whose output has the shape of its input then.
        **kwargs: of ``keras.layers.Layer``.
    """

    def __init__(self, first_level: int = 0, **kwargs: Any):
        spend(layers=1)
        super().__init__(**kwargs)
        self.first_level = first_level

    def child(self, name: str) -> dict[str, Any]:
        """Name and dtype for a layer of this block; names are unique in the whole network."""
        return {"name": f"{self.name}_{name}", "dtype": self.dtype_policy}

    def forward(self, visitor: Visitor, x: Any) -> Any:
        """The pass, for any visitor."""
        raise TypeError(f"{type(self).__name__} does not define forward()")

    def build(self, input_shape: Shape) -> None:
        """Builds every layer at its full size."""
        self.forward(Build(), tuple(input_shape))
        self.built = True

    def call(self, x: tf.Tensor, level: Any = None, training: bool = False) -> Any:
        """Runs the block at a level."""
        if level is None:
            raise ValueError(f"{self.name}: level must be given")
        with contextlib.suppress(TypeError):  # a tensor of a graph, or what the layers will refuse
            level = operator.index(level)
        return Compute(level, bool(training))(self, x)


class Shapes(Visitor):
    """Propagates shapes, without tensors or weights, and shows each layer to ``visit``.

    Args:
        level: int.
    """

    level: int

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The output shape of ``layer``."""
        self.visit(layer, x)
        if isinstance(layer, SliceableLayer):
            return layer.output_shape_at(x, self.level)
        return tuple(layer.compute_output_shape(x))

    def visit(self, layer: keras.layers.Layer, shape: Any) -> None:
        """Called with every layer and its input shape."""


class Seen(Shapes):
    """Collects the layers that it sees, in ``layers``.

    Args:
        level: int.
    """

    def __init__(self, level: int):
        super().__init__(level)
        self.layers: list[keras.layers.Layer] = []

    def visit(self, layer: keras.layers.Layer, shape: Any) -> None:
        """See the base class."""
        self.layers.append(layer)


class OutputShapes(Shapes):
    """Notes what every layer puts out at the largest level: ``shapes``, by the layer's ``id``, as they were visited."""

    def __init__(self) -> None:
        super().__init__(level=-1)
        self.shapes: dict[int, Shape] = {}

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The output shape of ``layer``, noted."""
        self.shapes[id(layer)] = y = super().__call__(layer, x)
        return y

    def of(self, layer: keras.layers.Layer) -> Shape | None:
        """The output shape of a layer; of a block that was run in parts, that of its last one."""
        inside = {id(part) for part in layer._flatten_layers()}
        return self.shapes.get(id(layer)) or next((self.shapes[k] for k in reversed(self.shapes) if k in inside), None)


class Build(Shapes):
    """Builds every layer for its full size: the last level, whose sizes are the largest."""

    def __init__(self):
        super().__init__(level=-1)

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        """Builds ``layer`` if it is not, and returns its output shape."""
        y = super().__call__(layer, x)
        layer.built = True  # for a block: its layers are
        return y

    def visit(self, layer: keras.layers.Layer, shape: Any) -> None:
        """Builds ``layer``."""
        if not layer.built:
            layer.build(shape)
