"""Reads a checkpoint in the layout of the official DS-Net code (PyTorch) into a ``DSMobileNet``.

Every tensor has one place in the model; a tensor without a place and a place without a tensor are errors.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from absl import logging

from ds_keras.convert.torch_file import read_tensors
from ds_keras.core.backend import at_most
from ds_keras.core.files import shown
from ds_keras.layers.batch_norm import SliceableBatchNormalization
from ds_keras.models.mobilenet import DSMobileNet, Stage
from ds_keras.models.stage import at_levels

STRIDES = (2, 1, 2, 2, 2, 2)  # of the released DS-MBNet: the stem, then every stage
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, as in DSMobileNet.imagenet

# What the layout fixes, or the shapes give: not for the caller to choose.
_FIXED = ("stem", "stages", "num_classes", "stem_stride", "padding", "attention", "residual", "activation")
_HEAD = re.compile(r"blocks\.(\d+)\.first_block\.gate\.gate\.0\.weight")
# Where each axis of our kernel lies in PyTorch's.
_CONV, _DEPTHWISE, _LINEAR, _VECTOR = (2, 3, 1, 0), (2, 3, 0, 1), (1, 0), (0,)
MORE_WEIGHTS = 1 << 24  # that a network may have besides twice as many as its checkpoint: a gate of its own
_HEAD_AXES = (1, 0, 2, 3)  # linear here, a 1x1 convolution there
# Where a tensor goes: the shape that it must have, and what writes it.
_Place = tuple[tuple[int, ...], Callable[[np.ndarray], None]]


def from_official(
    path: str | os.PathLike,
    input_shape: Sequence[int] = (224, 224, 3),
    ema: bool = False,
    strides: Sequence[int] | None = None,
    **kwargs: Any,
) -> DSMobileNet:
    """Converts an official DS-Net checkpoint file. Needs PyTorch; reads tensors and plain data, never code.

    Args:
        path: of the ``.pth.tar`` file.
        input_shape: (height, width, channels) of the images.
        ema: take ``state_dict_ema``, the averaged weights, instead of ``state_dict``.
        strides, **kwargs: see ``from_state_dict``.

    Returns:
        The built DSMobileNet.

    Raises:
        ImportError, OSError: PyTorch is not installed; the file cannot be read.
        ValueError: not a checkpoint of this layout, and as ``from_state_dict``.

    Example:
        >>> model = ds_keras.convert.from_official("DS_MBNet-70_1.pth.tar")
    """
    state = read_tensors(path, "state_dict_ema" if ema else "state_dict")
    try:
        return from_state_dict(state, input_shape, strides, **kwargs)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_state_dict(
    state: Mapping[str, np.ndarray],
    input_shape: Sequence[int] = (224, 224, 3),
    strides: Sequence[int] | None = None,
    **kwargs: Any,
) -> DSMobileNet:
    """Builds the DSMobileNet that a state dictionary of the official layout describes, and fills it.

    What the two sides do not share:

    - *Slimming head.* The official head chooses among a few hand-picked levels (4 of 14), ours has a logit for every
      level. It is copied where the two counts agree (and ``gate_hidden`` is 0); elsewhere the gate keeps its initial
      values, which is logged, and ``default_policy`` is "cascade" unless given. Train it with ``GateTrainer``.
    - *Statistics* belong to a width there, to a level here: levels of equal width get the first one's, and so does
      the teacher (``largest``), which after the gate is as wide as the last level.
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
        ValueError: missing or unknown names, shapes that do not fit, values that are not finite, bad arguments.
    """
    if refused := sorted(set(kwargs) & set(_FIXED)):
        raise ValueError(f"{', '.join(refused)} cannot be given: the checkpoint decides {', '.join(_FIXED)}")
    if twice := [key for key in state if f"module.{key}" in state]:
        raise ValueError(f"the checkpoint has these names with and without 'module.': {_listed(twice)}")
    state = {key.removeprefix("module."): np.asarray(value) for key, value in state.items()}
    stem, rows = _architecture(state)
    strides = STRIDES if strides is None else tuple(strides)
    if len(strides) != len(rows) + 1 or not all(isinstance(s, int) and s > 0 for s in strides):
        raise ValueError(f"strides must be {len(rows) + 1} positive integers (stem and stages), received {strides}")
    stages = [Stage(**row, stride=stride) for row, stride in zip(rows, strides[1:], strict=True)]
    levels = next(len(at_levels(stage.width, 1)) for stage in stages if stage.gate)
    outputs = next(_need(state, key).shape[0] for key in state if _HEAD.fullmatch(key))
    copy_head = outputs == levels and not kwargs.get("gate_hidden")
    if not copy_head:
        kwargs = {"default_policy": "cascade", **kwargs}
        note = "gate: its initial values are kept, because the checkpoint's slimming head (%d outputs, linear) does not"
        logging.warning(f"{note} fit the model's %d levels; train it with GateTrainer", outputs, levels)
    if tuple(input_shape)[-1:] == (3,):
        kwargs = {"mean": MEAN, "std": STD, **kwargs}
    kwargs |= {"num_classes": _need(state, "classifier.bias").size, "padding": "symmetric"}
    weights = 2 * sum(value.size for value in state.values()) + MORE_WEIGHTS
    with at_most(
        layers=2 * len(state) + 100, weights=weights, source="the checkpoint"
    ):  # before memory is taken for what the shapes say
        model = DSMobileNet(stem, stages, input_shape=input_shape, stem_stride=strides[0], **kwargs)
        model.build()
    _pour(state, _plan(model, outputs, copy_head))
    return model


def _architecture(state: Mapping[str, np.ndarray]) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    """The stem's widths and the rows of the table, without strides, read from the shapes."""
    gated = [int(match[1]) for match in map(_HEAD.fullmatch, state) if match]
    early = _count(state, r"bn1\.aux_bn\.(\d+)\..+")
    if len(gated) != 1 or early not in (1, 2):
        raise ValueError(
            "the state dictionary of a DS-MBNet has one 'blocks.N.first_block.gate.gate.0.weight' and 1 or 2 "
            f"'bn1.aux_bn.N' (small, teacher); received {len(gated)} and {early} among {_listed(sorted(state))}"
        )
    levels = _count(state, rf"blocks\.{gated[0]}\.first_block\.bn2\.aux_bn\.(\d+)\..+")
    rows: list[dict[str, Any]] = []

    def widths_of(norm: str, count: int) -> tuple[int, ...]:
        return tuple(_need(state, f"{norm}.aux_bn.{i}.running_mean").size for i in range(count))

    for i in range(_count(state, r"blocks\.(\d+)\..+")):
        widths = widths_of(f"blocks.{i}.first_block.bn2", early if i < gated[0] else levels)
        kernel = _need(state, f"blocks.{i}.first_block.conv_dw.weight").shape[-1]
        row = {"width": widths, "gate": i == gated[0], "kernel": kernel}
        if i < gated[0]:
            row |= {"width": widths[0], "teacher": (*widths, None)[1]}
        rows.append({**row, "depth": 1 + _count(state, rf"blocks\.{i}\.residual_blocks\.(\d+)\..+")})
    return widths_of("bn1", early), rows


def _count(state: Iterable[str], pattern: str) -> int:
    """One more than the largest index that ``pattern`` finds; 0 where it finds none."""
    return 1 + max((int(match[1]) for match in (re.fullmatch(pattern, key) for key in state) if match), default=-1)


def _need(state: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    if key not in state:
        raise ValueError(f"the checkpoint lacks {key}")
    return np.atleast_1d(state[key])


def _plan(model: DSMobileNet, outputs: int, copy_head: bool) -> dict[str, _Place]:
    """A place for every name that the checkpoint of this model must hold."""
    stem = old = model.table["stem"]
    plan = {"conv_stem.weight": _weight(model.stem.kernel, _CONV), **_norm("bn1", model.stem_norm, stem)}
    blocks = iter(model.blocks)
    for i, stage in enumerate(model.table["stages"]):
        new = stage.width if isinstance(stage.width, tuple) else (stage.width, stage.teacher)[: len(stem)]
        for j in range(at_levels(stage.depth, 1)[-1]):
            block, at = next(blocks), f"blocks.{i}.residual_blocks.{j - 1}" if j else f"blocks.{i}.first_block"
            plan[f"{at}.conv_dw.weight"] = _weight(block.depthwise.kernel, _DEPTHWISE)
            plan |= _norm(f"{at}.bn1", block.norm1, old)
            for name, layer in (("conv_reduce", block.gate.reduce), ("conv_expand", block.gate.expand)):
                plan[f"{at}.gate.{name}.weight"] = _weight(layer.kernel, _CONV)
                plan[f"{at}.gate.{name}.bias"] = _weight(layer.bias, _VECTOR)
            if stage.gate and j == 0:
                write = partial(_set, block.gate.slimming_head.logits.kernel, _HEAD_AXES) if copy_head else _drop
                plan[f"{at}.gate.gate.0.weight"] = (outputs, block.gate.reduced, 1, 1), write
            plan[f"{at}.conv_pw.weight"] = _weight(block.pointwise.kernel, _CONV)
            plan |= _norm(f"{at}.bn2", block.norm2, new)
            old = new
    plan["classifier.weight"] = _weight(model.classifier.kernel, _LINEAR)
    plan["classifier.bias"] = _weight(model.classifier.bias, _VECTOR)
    return plan


def _norm(name: str, norm: SliceableBatchNormalization, widths: Sequence[int]) -> dict[str, _Place]:
    """The shared affine, which the last width carries, and the statistics of every width."""
    # They are found by width there: of equal widths only the first's are used. A row more is the teacher's.
    last = f"{name}.aux_bn.{len(widths) - 1}"
    plan = {f"{last}.weight": _weight(norm.gamma, _VECTOR), f"{last}.bias": _weight(norm.beta, _VECTOR)}
    of_row = [*widths, *[widths[-1]] * (norm.moving_mean.shape[0] - len(widths))]
    for i, width in enumerate(widths):
        rows = [row for row, other in enumerate(of_row) if other == width and width not in widths[:i]]
        plan[f"{name}.aux_bn.{i}.running_mean"] = (width,), partial(_set_rows, norm.moving_mean, rows)
        plan[f"{name}.aux_bn.{i}.running_var"] = (width,), partial(_set_rows, norm.moving_variance, rows)
        plan[f"{name}.aux_bn.{i}.num_batches_tracked"] = (), _drop  # Keras keeps no counter
    return plan


def _weight(variable: keras.Variable, axes: tuple[int, ...]) -> _Place:
    """A tensor whose axis ``axes[i]`` is axis ``i`` of ``variable``."""
    shape = tuple(variable.shape[axis] for axis in np.argsort(axes))
    return shape, partial(_set, variable, axes)


def _set(variable: keras.Variable, axes: tuple[int, ...], array: np.ndarray) -> None:
    variable.assign(array.transpose(axes).reshape(variable.shape))


def _set_rows(variable: keras.Variable, rows: list[int], array: np.ndarray) -> None:
    table = keras.ops.convert_to_numpy(variable).copy()
    table[rows, : array.size] = array
    variable.assign(table)


def _drop(array: np.ndarray) -> None:
    pass


def _pour(state: Mapping[str, np.ndarray], plan: Mapping[str, _Place]) -> None:
    """Writes every tensor to its place, once all of them are known to fit."""
    if set(plan) != set(state):
        missing, unknown = sorted(set(plan) - set(state)), sorted(set(state) - set(plan))
        raise ValueError(f"the checkpoint lacks {_listed(missing)}; it has unknown {_listed(unknown)}")
    for key, (shape, _) in plan.items():
        if state[key].shape != shape:
            raise ValueError(f"{key}: received shape {state[key].shape}, expected {shape}")
        if not np.isfinite(state[key]).all():
            raise ValueError(f"{key}: every value must be finite, received NaN or infinity")
    for key, (_, write) in plan.items():
        write(state[key].astype("float32"))


def _listed(names: Sequence[str]) -> str:
    """The first few names, for an error message."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(map(shown, names[:8])) or "nothing") + more
