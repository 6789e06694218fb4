"""A plain Stage I step in PyTorch: every level on the whole batch, with batch statistics, and one optimizer step."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ds_keras.benchmarks.torch_twin import computing, import_torch, runner, step_of
from ds_keras.export.subnet import body_network, route_network

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def torch_step(model: "Supernet", rate: float = 1e-4) -> Callable[[np.ndarray, np.ndarray], list[float]]:
    """The step that ``SupernetTrainer(model, num_random=None, objective="ce")`` makes, of sliced weights.

    The shared start runs once, each body forward and backward after the other, gradients add up, then AdamW moves all.

    Args:
        model: supernet; its weights are copied, and stay as they are.
        rate: of AdamW.

    Returns:
        f(images, labels) -> the loss at each level, the largest first; images (batch, height, width, channels) float32
        in [0, 255], labels (batch,) int64, both numpy.

    Raises:
        ValueError: a layer that ``torch_twin`` refuses.
        ImportError: PyTorch is missing.

    Example:
        >>> step = torch_step(model)
        >>> step(images, labels)
        [0.31, 0.52]
    """
    torch = import_torch()
    route = route_network(model)
    parts = [keras.Model(route.input, route.output["features"])]
    parts += [body_network(model, level.index) for level in reversed(model.levels)]
    kept: dict[str, list[Any]] = {}  # the weights of each layer at its largest
    for part in parts:
        for layer in computing(part):
            kept.setdefault(layer.name, [torch.from_numpy(np.array(weight)) for weight in layer.get_weights()])
    leaves = [weight.requires_grad_() for weights in kept.values() for weight in weights[:2]]
    start, *bodies = (
        runner(part, {layer.name: _sliced(torch, layer, kept[layer.name]) for layer in computing(part)})
        for part in parts
    )
    optimizer = torch.optim.AdamW(leaves, rate)

    def step(images: np.ndarray, labels: np.ndarray) -> list[float]:
        optimizer.zero_grad()
        (features,) = start(torch.from_numpy(images).permute(0, 3, 1, 2))  # channels last in memory: faster
        border, losses = features.detach().requires_grad_(), []
        for body in bodies:
            loss = torch.nn.functional.cross_entropy(body(border)[0], torch.from_numpy(labels))
            loss.backward()
            losses.append(loss.item())
        features.backward(border.grad)
        optimizer.step()
        return losses

    return step


def _sliced(torch: Any, layer: keras.layers.Layer, kept: list[Any]) -> Callable:
    """A layer with its slices of the largest level's weights; those of BatchNorm's averages are its own."""
    if not kept:
        return step_of(torch, layer)
    shapes = [tuple(weight.shape) for weight in layer.weights]
    averages = [torch.from_numpy(np.array(weight)) for weight in layer.get_weights()[2:]]

    def run(x: Any) -> Any:
        return step_of(torch, layer, [*map(_slice, kept[:2], shapes), *averages])(x)

    return run


def _slice(weight: Any, shape: tuple[int, ...]) -> Any:
    """The first channels; of a convolution's kernel the middle rows and columns."""
    for axis, size in enumerate(shape):
        middle = len(shape) == 4 and axis < 2
        weight = weight.narrow(axis, (weight.shape[axis] - size) // 2 if middle else 0, size)
    return weight
