"""Weights of ``keras.applications`` as the largest level of a supernet: a start for Stage I."""

from typing import Any

import keras
import numpy as np

from ds_keras.convert.importance import order_channels
from ds_keras.models.resnet import DSResNet

CAFFE_MEAN = (123.68, 116.779, 103.939)  # RGB; what preprocess_input of ResNet-50 subtracts


def from_keras_resnet50(network: keras.Model, *, order: bool = True, **kwargs: Any) -> DSResNet:
    """``keras.applications.ResNet50`` as a ``DSResNet.imagenet(stride_in="1x1")``.

    The largest level gives the network's logits; the smaller ones are prefixes of its filters, the most important
    first, and have to be trained (Stage I, then ``calibrate_batch_norm``: until then every level has the network's
    statistics). The biases of the convolutions move into the means of the BatchNorms behind them. The result takes RGB
    images in [0, 255] where the network takes ``preprocess_input`` of them, which flips to BGR: the stem's input
    channels are flipped instead.

    Args:
        network: ``keras.applications.ResNet50`` with its top (``include_top=True``), any number of classes.
        order: whether channels are ordered by importance (``order_channels``).
        **kwargs: of ``DSResNet.imagenet``.

    Returns:
        DSResNet.

    Raises:
        ValueError: the network's layers are not those of ResNet-50.

    Source: He et al., arXiv 1512.03385.

    Example:
        >>> model = from_keras_resnet50(keras.applications.ResNet50())
    """
    parts = ["conv1", *(f"conv{i}_block{j}_{k}" for i, j, k in _positions())]
    expected = {f"{part}_{kind}" for part in parts for kind in ("conv", "bn")} | {"predictions"}
    found = {layer.name for layer in network.layers if layer.weights}
    if found != expected:
        raise ValueError(
            f"network must be keras.applications.ResNet50 with its top, received {network.name!r}, which "
            f"lacks {sorted(expected - found)[:3]} and has {sorted(found - expected)[:3]} (three at most)"
        )
    head = network.get_layer("predictions")
    given = {"bn_epsilon": network.get_layer("conv1_bn").epsilon, "mean": list(CAFFE_MEAN), "std": 1.0}
    given["input_shape"] = network.input_shape[1:] if None not in network.input_shape[1:] else (224, 224, 3)
    model = DSResNet.imagenet(head.units, stride_in="1x1", **{**given, **kwargs})
    model.build()
    _copy(network, "conv1", model.stem[0], model.stem[1], flip=True)
    for i, j, k in _positions():
        block = model.blocks[i - 2][j - 1]
        conv, norm = block.pairs()[k - (j > 1)]  # a block without a shortcut begins with convolution 1
        _copy(network, f"conv{i}_block{j}_{k}", conv, norm)
    model.classifier.set_weights(head.get_weights())
    if order:
        order_channels(model)
    return model


def _positions() -> list[tuple[int, int, int]]:
    """Stage, block and convolution, as Keras numbers them; convolution 0 is the shortcut of a stage's first block."""
    return [(i, j, k) for i, depth in enumerate((3, 4, 6, 3), 2) for j in range(1, depth + 1) for k in range(j > 1, 4)]


def _copy(network: keras.Model, name: str, conv: Any, norm: Any, flip: bool = False) -> None:
    """One convolution and its BatchNorm; every level's statistics become the network's."""
    kernel, bias = network.get_layer(f"{name}_conv").get_weights()
    gamma, beta, mean, variance = network.get_layer(f"{name}_bn").get_weights()
    conv.set_weights([kernel[:, :, ::-1] if flip else kernel])
    rows = norm.moving_mean.shape[0]
    norm.set_weights([gamma, beta, np.tile(mean - bias, (rows, 1)), np.tile(variance, (rows, 1))])
