"""Reads a checkpoint in the layout of the official DS-Net code (PyTorch) into a ``DSMobileNet``.

The names in the checkpoint are the only thing taken from there: the widths, depths and kernel sizes come from the
shapes of its tensors, and every tensor has one place in the model. A tensor that has none is an error.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from absl import logging

from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.models.mobilenet import DSMobileNet, Stage

STRIDES = (2, 1, 2, 2, 2, 2)  # of the released DS-MBNet: the stem, then every stage
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, as in DSMobileNet.imagenet

_GATE = re.compile(r"blocks\.(\d+)\.first_block\.gate\.gate\.0\.weight")
# What the layout fixes, or the shapes give: not for the caller to choose.
_FIXED = (
    "stem",
    "stages",
    "num_classes",
    "stem_stride",
    "padding",
    "attention",
    "residual",
    "activation",
    "bn_epsilon",
)
# Where each axis of our kernel lies in PyTorch's.
_CONV, _DEPTHWISE, _LINEAR, _VECTOR = (2, 3, 1, 0), (2, 3, 0, 1), (1, 0), (0,)


def from_official(
    path: str | os.PathLike,
    input_shape: Sequence[int] = (224, 224, 3),
    ema: bool = False,
    strides: Sequence[int] | None = None,
    **kwargs: Any,
) -> DSMobileNet:
    """Converts an official DS-Net checkpoint file (``DS_MBNet-70_1.pth.tar``).

    Needs PyTorch. The file is read with ``weights_only=True``: tensors and plain data, never code.

    Args:
        path: of the ``.pth.tar`` file.
        input_shape: (height, width, channels) of the images.
        ema: take ``state_dict_ema``, the averaged weights, instead of ``state_dict``.
        strides: see ``from_state_dict``.
        **kwargs: see ``from_state_dict``.

    Returns:
        The built DSMobileNet.

    Raises:
        ImportError: PyTorch is not installed.
        OSError: the file cannot be read.
        ValueError: not a checkpoint of this layout.

    Example:
        >>> model = ds_keras.convert.from_official("DS_MBNet-70_1.pth.tar")
        >>> logits = model(images, level=0)
    """
    return from_state_dict(read_checkpoint(path, ema), input_shape, strides, **kwargs)


def read_checkpoint(path: str | os.PathLike, ema: bool = False) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint file as numpy arrays, under the names that they have in the file.

    Args:
        path: of the ``.pth.tar`` file.
        ema: take ``state_dict_ema`` instead of ``state_dict``.

    Returns:
        {name: array}.

    Raises:
        ImportError: PyTorch is not installed.
        OSError: the file cannot be read.
        ValueError: not a PyTorch checkpoint, it holds objects other than plain data, or it has no such entry.
    """
    with open(path, "rb"):  # an OSError that names the path, before PyTorch is asked for
        pass
    try:
        import torch
    except ImportError as error:
        raise ImportError("reading a PyTorch checkpoint needs PyTorch: pip install ds_keras[convert]") from error
    try:
        # timm's trainer, which DS-Net uses, stores its arguments beside the weights: a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a bad file fails in many ways inside PyTorch
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is not a PyTorch checkpoint of tensors and plain data only: {reason}") from error
    entry = "state_dict_ema" if ema else "state_dict"
    state = checkpoint.get(entry) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        held = sorted(map(str, checkpoint)) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise ValueError(f"{path} must hold a dictionary {entry!r}, it holds {_listed(held)}")
    strange = [str(key) for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise ValueError(f"{path}: every value of {entry!r} must be a tensor, these are not: {_listed(strange)}")
    return {str(key): value.detach().to(torch.float32).numpy() for key, value in state.items()}


def from_state_dict(
    state: Mapping[str, np.ndarray],
    input_shape: Sequence[int] = (224, 224, 3),
    strides: Sequence[int] | None = None,
    **kwargs: Any,
) -> DSMobileNet:
    """Builds the DSMobileNet that a state dictionary of the official layout describes, and fills it.

    What both sides do not share:

    - *Slimming head.* The official head chooses among a few hand-picked levels (4 of 14), ours has a logit for every
      level. It is copied where the two counts agree (and ``gate_hidden`` is 0); elsewhere the gate keeps its initial
      values, which is logged, and ``default_policy`` is "cascade" unless given. Train it with ``GateTrainer``.
    - *Statistics of the teacher.* After the gate the teacher (``largest``) runs at the last level's width and has
      a row of statistics of its own here: a copy of the last level's.
    - *Strides* leave no trace in the shapes.

    Args:
        state: {name: array}; names may start with ``module.``.
        input_shape: (height, width, channels) of the images.
        strides: of the stem and of every stage; default ``STRIDES``, the published ones.
        **kwargs: other arguments of ``DSMobileNet`` (``mean`` and ``std``, ImageNet's by default for 3 channels;
            ``labels``, ``name``, ...), except those that the checkpoint decides.

    Returns:
        The built DSMobileNet, with PyTorch's padding.

    Raises:
        ValueError: missing or unknown names, a shape that does not fit, values that are not finite, bad strides, or
            an argument that the checkpoint decides.
    """
    refused = sorted(set(kwargs) & set(_FIXED))
    if refused:
        raise ValueError(f"{', '.join(refused)} cannot be given: the checkpoint decides {', '.join(_FIXED)}")
    state = _strip(state)
    stem, stages = _architecture(state)
    strides = _check_strides(strides, len(stages))
    stages = [Stage(**{**stage, "stride": stride}) for stage, stride in zip(stages, strides[1:], strict=True)]
    levels = next(len(stage.width) for stage in stages if stage.gate)
    outputs = next(array.shape[0] for key, array in state.items() if _GATE.fullmatch(key))
    copy_head = outputs == levels and not kwargs.get("gate_hidden")
    if not copy_head:
        kwargs.setdefault("default_policy", "cascade")
        logging.warning(
            "The checkpoint's slimming head has %d outputs for %d levels: the gate keeps its initial values; train it "
            "with ds_keras.training.GateTrainer.", outputs, levels
        )  # fmt: skip
    if len(input_shape) == 3 and input_shape[-1] == 3:
        kwargs = {"mean": MEAN, "std": STD, **kwargs}
    classes = int(_need(state, ["classifier.weight"])[0].shape[0])
    model = DSMobileNet(
        stem, stages, classes, input_shape, stem_stride=strides[0], padding="symmetric", activation="swish", **kwargs
    )
    model.build()
    _pour(state, _plan(model, outputs, copy_head))
    return model


def _strip(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Names without the ``module.`` of DataParallel, values as arrays."""
    stripped = {key.removeprefix("module."): np.asarray(value) for key, value in state.items()}
    if len(stripped) != len(state):
        twice = [key for key in state if f"module.{key}" in state]
        raise ValueError(f"the checkpoint has these tensors both with and without 'module.': {_listed(twice)}")
    return stripped


def _architecture(state: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """The stem's widths and the rows of the table, read from the shapes."""
    gated = [int(match[1]) for match in map(_GATE.fullmatch, state) if match]
    if len(gated) != 1:
        raise ValueError(
            f"a DS-MBNet checkpoint has exactly one tensor named 'blocks.N.first_block.gate.gate.0.weight', found "
            f"{len(gated)} among {_listed(sorted(state))}"
        )
    (gated,) = gated
    early = _count(state, r"bn1\.aux_bn\.(\d+)\..+")
    if early not in (1, 2):
        raise ValueError(f"bn1.aux_bn must have 1 or 2 widths (small, teacher), received {early}")
    levels = _count(state, rf"blocks\.{gated}\.first_block\.bn2\.aux_bn\.(\d+)\..+")
    stages = []
    for i in range(_count(state, r"blocks\.(\d+)\..+")):
        widths = _widths(state, f"blocks.{i}.first_block.bn2", early if i < gated else levels)
        (depthwise,) = _need(state, [f"blocks.{i}.first_block.conv_dw.weight"])
        before = {"width": widths[0], "teacher": widths[1] if early == 2 else None} if i < gated else {}
        depth = 1 + _count(state, rf"blocks\.{i}\.residual_blocks\.(\d+)\..+")
        stages.append({"width": widths, **before, "depth": depth, "gate": i == gated, "kernel": depthwise.shape[-1]})
    return _widths(state, "bn1", early), stages


def _count(state: Iterable[str], pattern: str) -> int:
    """One more than the largest index that ``pattern`` finds; 0 where it finds none."""
    return 1 + max((int(match[1]) for match in (re.fullmatch(pattern, key) for key in state) if match), default=-1)


def _widths(state: Mapping[str, np.ndarray], norm: str, count: int) -> tuple[int, ...]:
    return tuple(mean.size for mean in _need(state, [f"{norm}.aux_bn.{i}.running_mean" for i in range(count)]))


def _need(state: Mapping[str, np.ndarray], keys: Iterable[str]) -> list[np.ndarray]:
    missing = [key for key in keys if key not in state or not np.ndim(state[key])]
    if missing:
        raise ValueError(f"the checkpoint lacks {_listed(missing)}")
    return [state[key] for key in keys]


def _check_strides(strides: Sequence[int] | None, stages: int) -> tuple[int, ...]:
    received = STRIDES if strides is None else tuple(strides)
    if len(received) != stages + 1 or not all(isinstance(s, int) and s > 0 for s in received):
        raise ValueError(
            f"strides must be {stages + 1} positive integers, the stem's and one for each of {stages} stages, "
            f"received {received}{' (the default)' if strides is None else ''}"
        )
    return received


@dataclass(frozen=True)
class _Place:
    """Where a tensor goes: the shape that it must have, and what writes it."""

    shape: tuple[int, ...]
    write: Callable[[np.ndarray], None]


def _plan(model: DSMobileNet, outputs: int, copy_head: bool) -> dict[str, _Place]:
    """A place for every name that the checkpoint of this model must hold."""
    plan: dict[str, _Place] = {}
    stem, stages = model.table["stem"], model.table["stages"]
    plan["conv_stem.weight"] = _weight(model.stem.kernel, _CONV)
    plan.update(_norm("bn1", model.stem_norm, stem))
    blocks, old = iter(model.blocks), stem
    for i, stage in enumerate(stages):
        new = stage.width if isinstance(stage.width, tuple) else (stage.width, stage.teacher)[: len(stem)]
        for j in range(stage.depth):
            block, at = next(blocks), f"blocks.{i}." + (f"residual_blocks.{j - 1}" if j else "first_block")
            plan[f"{at}.conv_dw.weight"] = _weight(block.depthwise.kernel, _DEPTHWISE)
            plan.update(_norm(f"{at}.bn1", block.norm1, old))
            for name, layer in (("conv_reduce", block.gate.reduce), ("conv_expand", block.gate.expand)):
                plan[f"{at}.gate.{name}.weight"] = _weight(layer.kernel, _CONV)
                plan[f"{at}.gate.{name}.bias"] = _weight(layer.bias, _VECTOR)
            if stage.gate and j == 0:
                plan[f"{at}.gate.gate.0.weight"] = _head(block.gate, outputs, copy_head)
            plan[f"{at}.conv_pw.weight"] = _weight(block.pointwise.kernel, _CONV)
            plan.update(_norm(f"{at}.bn2", block.norm2, new))
            old = new
    plan["classifier.weight"] = _weight(model.classifier.kernel, _LINEAR)
    plan["classifier.bias"] = _weight(model.classifier.bias, _VECTOR)
    return plan
