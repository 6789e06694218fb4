"""Orders the channels of a convolutional supernet by importance, so that every prefix holds the best ones.

The largest level computes what it did: a permutation of the channels that a group of layers shares changes no logit.
Which layers share channels is found by a visitor: a convolution or dense layer makes a new group, depthwise
convolutions, BatchNorm and activations keep it, additions and products join two (so a residual stream is one group).

Two criteria, both ours after published ones:

- "weights" (no images): the variance of a channel, as its BatchNorm gives it, times the squared weights that read it,
  each over the deviation that the BatchNorm behind divides by: how much of what follows comes from it;
- "taylor" (labelled images; Molchanov et al., arXiv 1906.10771): the mean over the images of the squared derivative of
  the loss to a factor on the channel, one factor for all layers that read it.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.timing import counted
from ds_keras.core.visitor import Compute, Visitor
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.layers.conv import SliceableConv2D
from ds_keras.layers.dense import SliceableDense
from ds_keras.layers.depthwise import SliceableDepthwiseConv2D
from ds_keras.models.supernet import Supernet

CRITERIA = ("weights", "taylor")
MIXES = (SliceableConv2D, SliceableDense)  # whose outputs are new channels


class _Group:
    """Channels that several layers share. ``parent`` is the group that it was joined to."""

    def __init__(self) -> None:
        self.parent: _Group | None = None

    def root(self) -> "_Group":
        return self if self.parent is None else self.parent.root()


class _Channels(Visitor):
    """Finds the groups: values are groups; every layer with weights is kept with the groups of its input and output."""

    def __init__(self, level: int):
        super().__init__(level)
        self.seen: list[tuple[Any, _Group, _Group]] = []

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        if isinstance(x, list):
            first, *others = (part.root() for part in x)
            for other in others:
                if other is not first:
                    other.parent = first
            return first
        y = _Group() if isinstance(layer, MIXES) else x
        if layer.weights:
            self.seen.append((layer, x, y))
        return y


class _Masked(Compute):
    """Multiplies what a mixing layer reads by the factors of its group, one for each image and channel."""

    def __init__(self, level: int, factors: dict[int, tf.Tensor]):
        super().__init__(level)
        self.factors = factors

    def apply(self, layer: keras.layers.Layer, x: Any) -> Any:
        if id(layer) in self.factors:
            factor = self.factors[id(layer)]
            x = x * (factor if x.shape.rank == 2 else factor[:, None, None])
        return super().apply(layer, x)


def order_channels(
    model: Supernet, criterion: str = "weights", dataset: Iterable | None = None
) -> dict[str, np.ndarray]:
    """Orders the channels that levels slice, most important first, in place. The largest level's logits stay.

    Args:
        model: supernet of convolutions, with the weights of a trained largest level.
        criterion: "weights" or "taylor".
        dataset: for "taylor": batches of (images in [0, 255], (batch,) integer labels); some hundred images.

    Returns:
        For each group of channels, by the name of the first layer that makes it: (channels,) old places, new order.

    Raises:
        ValueError: unknown criterion, "taylor" without images, or a layer whose channels cannot be moved.

    Example:
        >>> orders = order_channels(model, "taylor", dataset.take(8))
        >>> orders["stage3_block1_project"].tolist()
        [17, 4, 31, 0, 22]
    """
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {CRITERIA}, received {criterion!r}")
    model.build()
    groups = channel_groups(model)
    if criterion == "weights":
        scores = _by_weights(groups)
    elif dataset is None:
        raise ValueError("dataset must be given for criterion='taylor': batches of (images, labels), received None")
    else:
        scores = _by_taylor(model, groups, dataset)
    orders = {}
    for name, (made, _) in groups.items():
        sizes = made[0].sizes if isinstance(made[0], MIXES) else None
        if sizes is not None and len(set(sizes)) > 1:
            orders[name] = np.argsort(-scores[name], kind="stable")
            _permute(*groups[name], orders[name])
    return orders


def channel_groups(model: Supernet) -> dict[str, tuple[list, list]]:
    """The groups of channels of a network.

    Args:
        model: built supernet of convolutions.

    Returns:
        By the name of the first layer that makes the channels: (layers that make or keep them, layers that read them).
    """
    visitor = _Channels(model.teacher_level.index)
    features, _ = model.start(visitor, _Group())
    model.body(visitor, features)
    groups: dict[int, tuple[str, list, list]] = {}
    for layer, x, y in visitor.seen:
        if type(layer) not in (*MIXES, SliceableDepthwiseConv2D, SliceableBatchNormalization):
            raise ValueError(f"channels can be ordered in networks of convolutions, received a {type(layer).__name__}")
        if layer is not model.classifier:  # whose outputs are classes
            groups.setdefault(id(y.root()), (layer.name, [], []))[1].append(layer)
        if isinstance(layer, MIXES) and id(x.root()) in groups:
            groups[id(x.root())][2].append(layer)
    return {name: (made, read) for name, made, read in groups.values()}


def _permute(made: list, read: list, order: np.ndarray) -> None:
    for layer in made:
        for variable in layer.weights:
            axis = 2 if isinstance(layer, SliceableDepthwiseConv2D) else len(variable.shape) - 1
            variable.assign(np.take(variable.numpy(), order, axis))
    for layer in read:
        axis = 2 if isinstance(layer, SliceableConv2D) else 0
        layer.kernel.assign(np.take(layer.kernel.numpy(), order, axis))


def _by_weights(groups: dict[str, tuple[list, list]]) -> dict[str, np.ndarray]:
    norms = {}  # the deviation over gamma of what a convolution gives, by its id
    for made, _ in groups.values():
        for conv, norm in pairwise(made):
            if isinstance(conv, SliceableConv2D) and isinstance(norm, SliceableBatchNormalization):
                norms[id(conv)] = _gain(norm)
    scores = {}
    for name, (made, read) in groups.items():
        variance = sum(layer.gamma.numpy() ** 2 for layer in _last_norms(made))
        weight = 0.0
        for layer in read:
            kernel = layer.kernel.numpy() * norms.get(id(layer), 1.0)
            weight = weight + (kernel**2).sum(axis=(0, 1, 3) if kernel.ndim == 4 else 1)
        scores[name] = np.asarray(variance * weight)
    return scores


def _gain(norm: SliceableBatchNormalization) -> np.ndarray:
    return np.abs(norm.gamma.numpy()) / np.sqrt(norm.moving_variance.numpy()[-1] + norm.epsilon)


def _last_norms(made: list) -> list[SliceableBatchNormalization]:
    """The BatchNorms whose output is read: of a convolution and a depthwise one behind it, the latter's."""
    norms: list = []
    for layer in made:
        if isinstance(layer, SliceableDepthwiseConv2D):
            norms = norms[:-1]
        elif isinstance(layer, SliceableBatchNormalization):
            norms.append(layer)
    return norms


def _by_taylor(model: Supernet, groups: dict[str, tuple[list, list]], dataset: Iterable) -> dict[str, np.ndarray]:
    sizes = {name: read[0].kernel.shape[-2] for name, (_, read) in groups.items() if read}

    @tf.function(autograph=False, reduce_retracing=True)
    def squares(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        ones = {name: tf.ones([tf.shape(x)[0], size]) for name, size in sizes.items()}
        with tf.GradientTape() as tape:
            tape.watch(ones)
            by_layer = {id(layer): ones[name] for name, (_, read) in groups.items() for layer in read}
            logits = tf.cast(model.logits(_Masked(model.teacher_level.index, by_layer), x), tf.float32)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        return {name: tf.reduce_sum(g**2, axis=0) for name, g in tape.gradient(loss, ones).items()}

    total: dict[str, np.ndarray] = {}
    for x, y in counted(dataset, f"{model.name}: importance of channels"):
        each = squares(model.check_images(x), tf.cast(y, tf.int32))
        total = {name: total.get(name, 0.0) + value.numpy() for name, value in each.items()}
    if not total:
        raise ValueError("dataset must hold at least one batch, received none")
    return total
