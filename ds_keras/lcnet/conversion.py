"""A level of a DS-ResNet as an LC-ResNet: the same network, from which images may skip parts."""

from typing import Any

import keras

from ds_keras.export import subnet
from ds_keras.lcnet.block import SkippableBlock
from ds_keras.lcnet.model import LCResNet, LCStage
from ds_keras.models import DSResNet
from ds_keras.models.stage import at_levels

TABLE = ("stem", "stem_kernel", "stem_stride", "block", "stride_in", "activation")
COMMON = ("num_classes", "input_shape", "mean", "std", "labels", "preprocessing")
NEEDED = {"stem_pool": (False, "end"), "bn_epsilon": (1e-5,)}  # what an LCResNet computes alike
NEEDED_BOTTLENECK = {"expansion": (4,)}
NEEDED_3X3 = {"padding": ("same",)}  # of a convolution with a stride


def from_level(supernet: DSResNet, level: Any = None, always: int = 1, **options: Any) -> LCResNet:
    """An ``LCResNet`` with the table, the weights and the BatchNorm statistics of one level of a ``DSResNet``.

    Its predictors are new and begin as 1: until they are trained, every image runs everything and gets the logits of
    the level. The supernet keeps its weights.

    Args:
        supernet: trained or not; ``DSResNet.cifar``, or as ``convert.load_open_nsfw`` gives it.
        level: int or ``SliceLevel``; default the largest.
        always: so many first blocks of every stage are never skipped whole.
        **options: of ``LCResNet``: ``layers``, ``groups``, ``constant``, ``name``, ``dtype``.

    Returns:
        LCResNet.

    Raises:
        ValueError: no such level, a network that an ``LCResNet`` does not compute alike, or a bad option.

    Example:
        >>> model = from_level(ds_keras.zoo.load("ds_resnet_cifar10"), groups=4)
        >>> model(images)  # the logits of the supernet's last level
    """
    if not isinstance(supernet, DSResNet):
        raise ValueError(f"supernet must be a DSResNet, received {type(supernet).__name__}")
    config = supernet.get_config()
    bottleneck = config["block"] == "bottleneck"
    needed = NEEDED | (NEEDED_BOTTLENECK if bottleneck else {})
    needed |= {} if bottleneck and config["stride_in"] == "1x1" else NEEDED_3X3
    wrong = {name: config[name] for name, allowed in needed.items() if config[name] not in allowed}
    if wrong:
        raise ValueError(f"supernet must have one of {needed} to become an LCResNet, received {wrong}")
    stem_pool = bool(config["stem_pool"])
    if stem_pool and any(-(-size // config["stem_stride"]) % 2 for size in config["input_shape"][:2]):
        raise ValueError(
            f"supernet must have an even size behind its stem to become an LCResNet, received {config['input_shape']}"
        )
    k = supernet.static_level(len(supernet.levels) - 1 if level is None else level)
    stages, count = [], len(supernet.levels)
    for row, blocks in zip(supernet.stages, supernet.blocks, strict=True):
        width, depth, kernel = (at_levels(value, count)[k] for value in (row.width, row.depth, row.kernel))
        if kernel != 3:
            raise ValueError(f"supernet must have kernels of size 3 at level {k}, received {kernel}")
        first = {"attention": row.gate and config["attention"], "projection": bool(blocks[0].shortcut)}
        stages.append(LCStage(width, depth, row.stride, always, **first))
    given = {name: config[name] for name in (*TABLE, *COMMON) if name in config}
    given |= {"stem_pool": stem_pool, "stem_padding": config["padding"]}
    model = LCResNet(**{**given, **options, "stages": stages})
    model.build()
    _copy(subnet(supernet, k), model)
    return model


def _copy(plain: keras.Model, model: LCResNet) -> None:
    """Weights of the plain network of a level, by the names of its layers."""
    twins = {"stem": model.stem[0], "stem_norm": model.stem[1], "classifier": model.classifier}
    for block in model.blocks:
        twins |= {f"{block.name}_{name}": layer for name, layer in _layers(block).items()}
        if block.attention is not None:
            twins |= {"gate_reduce": block.attention.reduce, "gate_expand": block.attention.expand}
    for name, layer in twins.items():
        layer.set_weights(plain.get_layer(name).get_weights())


def _layers(block: SkippableBlock) -> dict[str, keras.layers.Layer]:
    """The layers of a block, by the names that they have in a ``DSResNet``."""
    rows = [block.reduce] if block.reduce else []
    rows += [[block.spatial, block.norm], [block.project, block.project_norm]]
    layers: dict[str, keras.layers.Layer] = {}
    for i, (convolution, norm) in enumerate(rows, start=1):
        layers |= {f"conv{i}": convolution, f"norm{i}": norm}
    return layers | dict(zip(("shortcut", "shortcut_norm"), block.shortcut, strict=False))
