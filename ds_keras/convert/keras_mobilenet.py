"""``keras.applications`` MobileNet and MobileNetV2 as the largest level of a supernet: a start for Stage I."""

from typing import Any

import keras
import numpy as np

from ds_keras.convert.importance import order_channels
from ds_keras.models.mobilenet import DSMobileNet
from ds_keras.models.mobilenet_v2 import DSMobileNetV2

Pairs = list[tuple[str, Any]]


def from_keras_mobilenet(
    network: keras.Model, model: DSMobileNet | None = None, order: bool = True, **kwargs: Any
) -> DSMobileNet:
    """``keras.applications.MobileNet`` (V1) as a ``DSMobileNet.v1``: plain blocks with ReLU6.

    The largest level gives the network's logits, at sizes that are multiples of 32; the smaller ones are prefixes of
    its channels and have to be trained (Stage I, then ``calibrate_batch_norm``). The result takes images in [0, 255]
    where the network takes ``preprocess_input`` of them.

    Args:
        network: with its top (``include_top=True``), any number of classes, ``alpha=1``.
        model: to fill, whose largest level is that network; default ``DSMobileNet.v1``.
        order: whether channels are ordered by importance (``order_channels``).
        **kwargs: of ``DSMobileNet.v1``, where ``model`` is not given.

    Returns:
        DSMobileNet.

    Raises:
        ValueError: the network's layers are not those of MobileNet, or of another size.

    Source: Howard et al., arXiv 1704.04861.

    Example:
        >>> model = from_keras_mobilenet(keras.applications.MobileNet())
    """
    model = _target(network, model, DSMobileNet.v1, "conv_preds", kwargs)
    pairs = [("conv1", model.stem), ("conv1_bn", model.stem_norm)]
    for i, block in enumerate(model.blocks, start=1):
        pairs += [(f"conv_dw_{i}", block.depthwise), (f"conv_dw_{i}_bn", block.norm1)]
        pairs += [(f"conv_pw_{i}", block.pointwise), (f"conv_pw_{i}_bn", block.norm2)]
    return _fill(network, model, [*pairs, ("conv_preds", model.classifier)], order)


def from_keras_mobilenet_v2(
    network: keras.Model, model: DSMobileNetV2 | None = None, order: bool = True, **kwargs: Any
) -> DSMobileNetV2:
    """``keras.applications.MobileNetV2`` as a ``DSMobileNetV2.imagenet``. As ``from_keras_mobilenet``.

    Args:
        network: with its top (``include_top=True``), any number of classes, ``alpha=1``.
        model: to fill, whose largest level is that network; default ``DSMobileNetV2.imagenet``.
        order: whether channels are ordered by importance (``order_channels``).
        **kwargs: of ``DSMobileNetV2.imagenet``, where ``model`` is not given.

    Returns:
        DSMobileNetV2.

    Raises:
        ValueError: the network's layers are not those of MobileNetV2, or of another size.

    Source: Sandler et al., arXiv 1801.04381.

    Example:
        >>> model = from_keras_mobilenet_v2(keras.applications.MobileNetV2())
    """
    model = _target(network, model, DSMobileNetV2.imagenet, "predictions", kwargs)
    pairs = [("Conv1", model.stem[0]), ("bn_Conv1", model.stem[1])]
    for i, block in enumerate(block for blocks in model.blocks for block in blocks):
        prefix = f"block_{i}" if i else "expanded_conv"
        layers = [layer for layer in block.steps if layer.weights]
        parts = ("expand", "expand_BN", "depthwise", "depthwise_BN", "project", "project_BN")[-len(layers) :]
        pairs += [(f"{prefix}_{part}", layer) for part, layer in zip(parts, layers, strict=True)]
    pairs += [("Conv_1", model.last[0]), ("Conv_1_bn", model.last[1]), ("predictions", model.classifier)]
    return _fill(network, model, pairs, order)


def _target(network: keras.Model, model: Any, make: Any, head: str, kwargs: dict[str, Any]) -> Any:
    """The model to fill, built."""
    if not any(layer.name == head for layer in network.layers):
        raise ValueError(f"network must have its top with the layer {head!r}, received {network.name!r}")
    if model is not None and kwargs:
        raise ValueError(f"arguments of the layout go without model=, received {sorted(kwargs)} with it")
    if model is None:
        shape = network.input_shape[1:] if None not in network.input_shape[1:] else (224, 224, 3)
        classes = network.get_layer(head).weights[-1].shape[0]
        model = make(classes, **{"input_shape": shape, **kwargs})
    model.build()
    return model


def _fill(network: keras.Model, model: Any, pairs: Pairs, order: bool) -> Any:
    found = {layer.name for layer in network.layers if layer.weights}
    expected = {name for name, _ in pairs}
    if found != expected:
        raise ValueError(
            f"network must be the one of keras.applications with its top, received {network.name!r}, which lacks "
            f"{sorted(expected - found)[:3]} and has {sorted(found - expected)[:3]} (three at most)"
        )
    for name, layer in pairs:
        values = network.get_layer(name).get_weights()
        if hasattr(layer, "moving_mean"):
            rows = layer.moving_mean.shape[0]
            values = [*values[:2], *(np.tile(value, (rows, 1)) for value in values[2:])]
        elif layer is model.classifier:  # V1's is a convolution
            values[0] = values[0].reshape(values[0].shape[-2:])
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if shapes != [value.shape for value in values]:
            received = [value.shape for value in values]
            raise ValueError(f"network: {name} must have weights of shape {shapes}, received {received}")
        layer.set_weights(values)
    if order:
        order_channels(model)
    return model
