"""DeiT-Ti and DeiT-S, in safetensors of the usual (timm's) names, as the largest level of a ``DSViT``."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ds_keras.convert.torch_file import MAX_BYTES
from ds_keras.core.files import check_regular
from ds_keras.models.vit import DSViT

WIDTHS = {192: "tiny", 384: "small"}


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file: a header and numbers, no code.

    Args:
        path: of the file.

    Returns:
        {name: array}.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: not such a file.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError("read_safetensors() needs safetensors: pip install ds_keras[pretrained]") from error
    try:
        check_regular(path, MAX_BYTES)
        return load_file(os.fspath(path))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        SafetensorError,
    ) as error:
        raise ValueError(f"path must be a safetensors file, received {os.fspath(path)!r}: {error}") from error


def from_deit(
    weights: Mapping[str, np.ndarray] | str | os.PathLike,
    model: DSViT | None = None,
    order: bool = True,
    **kwargs: Any,
) -> DSViT:
    """DeiT-Ti or DeiT-S (without distillation token) as a ``DSViT.imagenet``.

    The largest level gives the network's logits, as far as the tanh form of GELU is the exact one (some 1e-3). The
    biases of the keys are left out: the softmax takes them away. The gate's attention begins as the identity.
    ``order`` puts heads, hidden units and the stream's features in order of importance: the sum of the squares of the
    weights that write, times that of those that read.

    Args:
        weights: {name: array}, or the path of a safetensors file.
        model: to fill; default the ``DSViT.imagenet`` of the weights' width and classes.
        order: see above.
        **kwargs: of ``DSViT.imagenet``, where ``model`` is not given.

    Returns:
        DSViT.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape than the largest level needs.

    Source: Touvron et al., arXiv 2012.12877.

    Example:
        >>> model = from_deit("deit_tiny_patch16_224.safetensors")
    """
    if isinstance(weights, str | os.PathLike):
        weights = read_safetensors(weights)
    left = {name: np.asarray(value, "float32") for name, value in weights.items()}
    if model is None:
        width = left["norm.weight"].shape[0] if "norm.weight" in left else None
        if width not in WIDTHS or "head.bias" not in left:
            raise ValueError(f"weights must be of DeiT-Ti or DeiT-S, of width {tuple(WIDTHS)}, received {width}")
        model = DSViT.imagenet(len(left["head.bias"]), WIDTHS[width], **kwargs)
    elif kwargs:
        raise ValueError(f"arguments of the layout go without model=, received {sorted(kwargs)} with it")
    model.build()

    def take(name: str, shape: Sequence[int]) -> np.ndarray:
        value = left.pop(name, None)
        if value is None or value.shape != tuple(shape):
            got = None if value is None else value.shape
            raise ValueError(f"weights: {name} must have the shape {tuple(shape)}, received {got}")
        if not np.isfinite(value).all():
            raise ValueError(f"weights: {name} must be finite, received NaN or infinity")
        return value

    def dense(name: str, layer: Any) -> None:
        inputs, outputs = layer.kernel.shape
        layer.set_weights([take(f"{name}.weight", (outputs, inputs)).T, take(f"{name}.bias", (outputs,))])

    def norm(name: str, layer: Any) -> None:
        layer.set_weights([take(f"{name}.{part}", layer.gamma.shape) for part in ("weight", "bias")])

    height, width, channels, filters = model.embed.kernel.shape
    kernel = take("patch_embed.proj.weight", (filters, channels, height, width)).transpose(2, 3, 1, 0)
    model.embed.set_weights([kernel, take("patch_embed.proj.bias", (filters,))])
    tokens = model.positions.table.shape[0]
    table = take("pos_embed", (1, tokens, filters))[0].copy()
    table[0] += take("cls_token", (1, 1, filters))[0, 0]
    model.positions.set_weights([table])
    for i, block in enumerate(model.blocks):
        norm(f"blocks.{i}.norm1", block.norm1)
        _attention(take, f"blocks.{i}.attn", block.attention)
        norm(f"blocks.{i}.norm2", block.norm2)
        dense(f"blocks.{i}.mlp.fc1", block.expand)
        dense(f"blocks.{i}.mlp.fc2", block.project)
    norm("norm", model.norm)
    dense("head", model.classifier)
    if left:
        raise ValueError(f"weights: the model has no place for {sorted(left)[:3]} (three at most)")
    if order:
        _order(model)
    return model


def _attention(take: Any, name: str, layer: Any) -> None:
    features, width = layer.query_kernel.shape
    kernels = np.split(take(f"{name}.qkv.weight", (3 * width, features)).T, 3, axis=1)
    query, _, value = np.split(take(f"{name}.qkv.bias", (3 * width,)), 3)
    for part, kernel in zip(("query", "key", "value"), kernels, strict=True):
        getattr(layer, f"{part}_kernel").assign(kernel)
    layer.query_bias.assign(query)
    layer.value_bias.assign(value)
    layer.output_kernel.assign(take(f"{name}.proj.weight", (features, width)).T)
    layer.output_bias.assign(take(f"{name}.proj.bias", (features,)))


def _order(model: DSViT) -> None:
    """Permutes heads, hidden units and the stream, most important first; the largest level computes what it did."""
    written = read = np.float32(0)
    for block in model.blocks:
        attention, size = block.attention, model.table["head_size"]
        projections = [getattr(attention, f"{part}_kernel") for part in ("query", "key", "value")]
        written = written + _energy(attention.output_kernel, 1) + _energy(block.project.kernel, 1)
        read = read + np.square(block.norm1.gamma.numpy()) * sum(_energy(kernel, 0) for kernel in projections)
        read = read + np.square(block.norm2.gamma.numpy()) * _energy(block.expand.kernel, 0)
        units = np.argsort(-_energy(block.expand.kernel, 1) * _energy(block.project.kernel, 0), kind="stable")
        _move((block.expand.kernel, 1), (block.expand.bias, 0), (block.project.kernel, 0), order=units)
        heads = _energy(attention.value_kernel, 1) * _energy(attention.output_kernel, 0)
        heads = np.argsort(-heads.reshape(-1, size).sum(axis=1), kind="stable")
        biases = [(attention.query_bias, 0), (attention.value_bias, 0), (attention.output_kernel, 0)]
        places = (heads[:, None] * size + np.arange(size)).ravel()
        _move(*((kernel, 1) for kernel in projections), *biases, order=places)
    places = np.argsort(-written * read, kind="stable")
    _move((model.embed.kernel, 3), (model.embed.bias, 0), (model.positions.table, 1), order=places)
    for block in model.blocks:
        norms = [(weight, 0) for norm in (block.norm1, block.norm2) for weight in (norm.gamma, norm.beta)]
        reads = [(getattr(block.attention, f"{part}_kernel"), 0) for part in ("query", "key", "value")]
        writes = [(block.attention.output_kernel, 1), (block.attention.output_bias, 0)]
        writes += [(block.project.kernel, 1), (block.project.bias, 0)]
        _move(*norms, *reads, (block.expand.kernel, 0), *writes, order=places)
    _move((model.norm.gamma, 0), (model.norm.beta, 0), (model.classifier.kernel, 0), order=places)


def _energy(kernel: Any, axis: int) -> np.ndarray:
    """The sum of the squares for every place along an axis of a matrix."""
    return np.square(kernel.numpy()).sum(axis=1 - axis)


def _move(*weights: tuple[Any, int], order: np.ndarray) -> None:
    for variable, axis in weights:
        variable.assign(np.take(variable.numpy(), order, axis))
