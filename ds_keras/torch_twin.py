"""A plain convolutional network in PyTorch, to time LiteRT against: equal weights, channels first, BatchNorm folded."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

ACTIVATIONS = ("silu", "sigmoid", "relu", "linear")


def torch_twin(network: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The network as PyTorch runs it.

    Args:
        network: of ``ds_keras.export.subnet(model, level, fold_batch_norm=True)``: convolutions, activations,
            squeeze-and-excitation, pooling and a classifier, as in DSMobileNet.

    Returns:
        f(images) -> logits, both numpy, images (batch, height, width, channels) float32.

    Raises:
        ValueError: a layer that is not one of these.
        ImportError: PyTorch is missing.

    Example:
        >>> run = torch_twin(subnet(model, 0, fold_batch_norm=True))
        >>> run(images)
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("torch_twin needs PyTorch: pip install 'ds_keras[convert]'") from error
    steps = [(layer.name, _inputs(layer), _step(torch, layer)) for layer in network.layers if _inputs(layer)]
    (first,) = (layer.name for layer in network.layers if not _inputs(layer))
    last = network.outputs[0]._keras_history.operation.name

    @torch.inference_mode()
    def run(images: np.ndarray) -> np.ndarray:
        values = {first: torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))}
        for name, inputs, step in steps:
            values[name] = step(*(values[key] for key in inputs))
        return values[last].numpy()

    return run


def _inputs(layer: keras.layers.Layer) -> list[str]:
    """Names of the layers that a layer reads."""
    return [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]


def _step(torch: Any, layer: keras.layers.Layer) -> Callable:
    """A layer as a function of tensors, channels first."""
    kind = type(layer).__name__
    activation = keras.activations.serialize(layer.activation) if hasattr(layer, "activation") else "linear"
    if activation not in ACTIVATIONS:
        raise ValueError(f"network must have activations of {ACTIVATIONS}, received {activation!r} in {layer.name!r}")
    functional = torch.nn.functional
    act = {"linear": lambda x: x, "sigmoid": torch.sigmoid}.get(activation) or getattr(functional, activation)
    weights = [torch.from_numpy(np.array(weight)) for weight in layer.get_weights()]
    if kind in ("Conv2D", "DepthwiseConv2D"):
        kernel, bias = weights if layer.use_bias else (*weights, None)
        groups = kernel.shape[2] if kind == "DepthwiseConv2D" else 1
        kernel = kernel.permute((2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1)).contiguous()
        return lambda x: act(functional.conv2d(_same(functional, layer, x), kernel, bias, layer.strides, groups=groups))
    if kind == "Dense":
        kernel, bias = weights if layer.use_bias else (*weights, None)
        return lambda x: act(functional.linear(x, kernel.T, bias))
    if kind == "Rescaling":
        scale, offset = (
            torch.from_numpy(np.asarray(v, "float32").reshape(-1, 1, 1)) for v in (layer.scale, layer.offset)
        )
        return lambda x: x * scale + offset
    if kind == "GlobalAveragePooling2D":
        return lambda x: x.mean((2, 3), keepdim=layer.keepdims)
    simple = {"Activation": act, "ReLU": torch.relu, "Multiply": lambda a, b: a * b, "Add": lambda a, b: a + b}
    if kind not in simple:
        raise ValueError(f"network must be of plain convolutional layers, received {layer.name!r}, a {kind}")
    return simple[kind]


def _same(functional: Any, layer: keras.layers.Layer, x: Any) -> Any:
    """TensorFlow's SAME padding, which at stride 2 is one-sided."""
    if layer.padding != "same":
        return x
    pads = []
    for side, kernel, stride in zip(x.shape[2:], layer.kernel_size, layer.strides, strict=True):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads = [total // 2, total - total // 2, *pads]  # PyTorch lists the last axis first
    return functional.pad(x, pads) if any(pads) else x
