"""int8 codes of a kernel's slice, and what a code is worth at a level.

A kernel is rounded before BatchNorm is folded in: code = round(weight / scale), with a scale for each output channel of
the full kernel (``core.fake_quant``). A level's codes are then a slice of the stored codes, and its own scales, scale x
|BatchNorm factor|, carry what differs. Sharing the scales is what keeps one int8 payload for all levels (ours).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ds_keras.core.fake_quant import along, kernel_scale

SMALLEST_SCALE = 2.0**-12  # of a channel, relative to the largest: with a smaller one its bias would leave int32


def slice_scale(kernel: Any, axis: int | None, sizes: Sequence[int]) -> np.ndarray:
    """The scales of a slice's codes: those of its channels in the full kernel.

    Args:
        kernel: full kernel.
        axis: of the output channels, which have a scale each; None for one scale of the whole kernel.
        sizes: of the slice.

    Returns:
        (channels,) or () float32, above 0.
    """
    scale = keras.ops.convert_to_numpy(kernel_scale(kernel, axis))
    return scale if axis is None else scale[: sizes[axis]]


def kernel_codes(values: np.ndarray, scale: np.ndarray, axis: int | None, factor: np.ndarray | None) -> np.ndarray:
    """The codes of a slice.

    Args:
        values: the slice, float32.
        scale: see ``slice_scale``.
        axis: of the output channels; None for one scale of the whole kernel, behind which there is no BatchNorm.
        factor: (channels,) of the BatchNorm behind, or None. A negative one, whose sign no level changes, is taken into
            the codes; one of 0 makes them 0.

    Returns:
        int8, of the slice's shape.
    """
    codes = np.rint(values / along(scale, axis, values.ndim))
    if factor is not None and axis is not None:
        codes *= along(np.sign(factor[: values.shape[axis]]), axis, values.ndim)
    return codes.astype("int8")


def code_worth(scale: np.ndarray, factor: np.ndarray | None) -> np.ndarray:
    """What a code is worth at a level, BatchNorm included.

    Args:
        scale: see ``slice_scale``.
        factor: (channels,) of the BatchNorm behind, or None.

    Returns:
        float32 of the scale's shape, above 0.
    """
    scale = scale if factor is None else scale * np.abs(factor)
    return np.maximum(scale, max(SMALLEST_SCALE * scale.max(), 1e-20)).astype("float32")
