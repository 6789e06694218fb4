"""A plain convolutional network in PyTorch, to time LiteRT against: equal weights, channels first.

``masked_twin`` is how the published DS-Net code runs its dynamic mode, after the description of what it does; that code
itself has no licence, and nothing is taken from it.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ds_keras.export.subnet import body_network, route_network

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

ACTIVATIONS = ("silu", "sigmoid", "relu", "relu6", "linear")


def torch_twin(network: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The network as PyTorch runs it.

    Args:
        network: of ``ds_keras.export.subnet(model, level)``, BatchNorm folded or not: convolutions, BatchNorm,
            activations, squeeze-and-excitation, pooling and a classifier, as in DSMobileNet.

    Returns:
        f(images) -> logits, both numpy, images (batch, height, width, channels) float32.

    Raises:
        ValueError: a layer that is not one of these.
        ImportError: PyTorch is missing.

    Example:
        >>> run = torch_twin(subnet(model, 0, fold_batch_norm=True))
        >>> run(images)
    """
    torch = import_torch()
    run = runner(network, {layer.name: step_of(torch, layer) for layer in computing(network)})

    @torch.inference_mode()
    def run_images(images: np.ndarray) -> np.ndarray:
        return run(_channels_first(torch, images))[0].numpy()

    return run_images


def masked_twin(model: "Supernet") -> Callable[..., np.ndarray]:
    """The dynamic mode of the published code in PyTorch: every level at full width, its channels kept by masks.

    The gate picks the level. The body then runs with the kernels of the largest level, BatchNorm unfolded with the
    level's statistics, and a multiplication by the level's mask behind each: the fewest masks that give the level's
    logits, so a lower bound of what masking costs. (The published code also draws noise for the gate.)

    Args:
        model: a DSMobileNet whose levels differ in width alone, and whose activation takes 0 to 0.

    Returns:
        f(image, level=None) -> logits, both numpy, image (1, height, width, channels) float32; ``level`` overrules the
        gate, which runs all the same.

    Raises:
        ValueError: levels that differ in more than width, or a layer that ``torch_twin`` refuses.
        ImportError: PyTorch is missing.

    Source: DS-Net, arXiv 2103.13258; the paper compares masking with slicing in section 1.

    Example:
        >>> masked_twin(model)(images[:1], level=0)
    """
    torch = import_torch()
    start, largest = route_network(model), body_network(model, len(model.levels) - 1)
    route = runner(start, {layer.name: step_of(torch, layer) for layer in computing(start)})
    steps = {layer.name: step_of(torch, layer) for layer in computing(largest)}
    bodies = [
        runner(largest, {**steps, **_masked(torch, largest, body_network(model, level))})
        for level in range(len(model.levels))
    ]
    names = list(keras.tree.flatten({name: name for name in start.output}))

    @torch.inference_mode()
    def run_image(image: np.ndarray, level: int | None = None) -> np.ndarray:
        found = dict(zip(names, route(_channels_first(torch, image)), strict=True))
        chosen = int(found["gate"].argmax())
        return bodies[chosen if level is None else level](found["features"])[0].numpy()

    return run_image


def import_torch() -> Any:
    """PyTorch; raises ImportError where it is missing."""
    try:
        import torch
    except ImportError as error:
        raise ImportError("torch_twin needs PyTorch: pip install 'ds_keras[convert]'") from error
    return torch


def _channels_first(torch: Any, images: np.ndarray) -> Any:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def computing(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a network that compute: all but the input."""
    return [layer for layer in network.layers if _inputs(layer)]


def runner(network: keras.Model, steps: dict[str, Callable]) -> Callable[[Any], list[Any]]:
    """f(tensor) -> outputs, in the order of ``network.outputs``; a tensor is freed after its last use."""
    (first,) = (layer.name for layer in network.layers if not _inputs(layer))
    outputs = [tensor._keras_history.operation.name for tensor in network.outputs]
    order = [(layer.name, _inputs(layer), steps[layer.name]) for layer in computing(network)]
    last_use = {key: i for i, (_, inputs, _) in enumerate(order) for key in inputs}
    done = [[key for key, last in last_use.items() if last == i and key not in outputs] for i in range(len(order))]

    def run(x: Any) -> list[Any]:
        values = {first: x}
        for (name, inputs, step), unused in zip(order, done, strict=True):
            values[name] = step(*(values[key] for key in inputs))
            for key in unused:
                del values[key]
        return [values[name] for name in outputs]

    return run


def _masked(torch: Any, largest: keras.Model, network: keras.Model) -> dict[str, Callable]:
    """BatchNorm of a level by the layer's name, at the largest level's width, with a mask of the level's channels."""
    steps = {}
    for full, layer in zip(largest.layers, network.layers, strict=True):
        if hasattr(full, "kernel_size") and full.kernel_size != layer.kernel_size:
            raise ValueError(
                f"levels must differ in width alone, received kernels of {layer.kernel_size} and {full.kernel_size}"
            )
        if not isinstance(full, keras.layers.BatchNormalization):
            continue
        gamma, beta, *statistics = (torch.from_numpy(np.array(weight)) for weight in full.get_weights())
        width = layer.gamma.shape[0]
        for values, weight in zip(statistics, layer.get_weights()[2:], strict=True):
            values[:width] = torch.from_numpy(np.array(weight))
        mask = (torch.arange(len(gamma)) < width).float().reshape(1, -1, 1, 1)
        norm = _norm(torch, [gamma, beta, *statistics], full.epsilon)
        steps[full.name] = lambda x, norm=norm, mask=mask: norm(x) * mask
    return steps


def _norm(torch: Any, weights: Sequence[Any], epsilon: float, training: bool = False) -> Callable:
    """BatchNorm of its weights in Keras' order."""
    gamma, beta, mean, variance = weights
    return lambda x: torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, training, 0.1, epsilon)


def _inputs(layer: keras.layers.Layer) -> list[str]:
    """Names of the layers that a layer reads."""
    return [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]


def step_of(torch: Any, layer: keras.layers.Layer, weights: Sequence[Any] | None = None) -> Callable:
    """A layer as a function of tensors, channels first.

    Args:
        torch: the module.
        layer: of a plain network.
        weights: tensors in its weights' place, which are trained: BatchNorm takes the statistics of the batch.

    Returns:
        f(tensor, ...) -> tensor.

    Raises:
        ValueError: a layer that ``torch_twin`` refuses.
    """
    kind = type(layer).__name__
    activation = keras.activations.serialize(layer.activation) if hasattr(layer, "activation") else "linear"
    if activation not in ACTIVATIONS:
        raise ValueError(f"network must have activations of {ACTIVATIONS}, received {activation!r} in {layer.name!r}")
    functional = torch.nn.functional
    act = {"linear": lambda x: x, "sigmoid": torch.sigmoid}.get(activation) or getattr(functional, activation)
    training = weights is not None
    weights = weights or [torch.from_numpy(np.array(weight)) for weight in layer.get_weights()]
    if kind in ("Conv2D", "DepthwiseConv2D"):
        kernel, bias = weights if layer.use_bias else (*weights, None)
        groups = kernel.shape[2] if kind == "DepthwiseConv2D" else 1
        kernel = kernel.permute((2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1)).contiguous()
        return lambda x: act(functional.conv2d(_same(functional, layer, x), kernel, bias, layer.strides, groups=groups))
    if kind == "Dense":
        kernel, bias = weights if layer.use_bias else (*weights, None)
        return lambda x: act(functional.linear(x, kernel.T, bias))
    if kind == "BatchNormalization":
        return _norm(torch, weights, layer.epsilon, training)
    if kind == "Flatten" and tuple(layer.input.shape[1:-1]) == (1, 1):
        return lambda x: x.flatten(1)
    if kind == "ZeroPadding2D":  # of padding="symmetric"
        (top, bottom), (left, right) = layer.padding
        return lambda x: functional.pad(x, (left, right, top, bottom))
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
    pads: list[int] = []
    for side, kernel, stride in zip(x.shape[2:], layer.kernel_size, layer.strides, strict=True):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads = [total // 2, total - total // 2, *pads]  # PyTorch lists the last axis first
    return functional.pad(x, pads) if any(pads) else x
