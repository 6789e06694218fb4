"""Image sizes: the one resize-and-crop that evaluation, export and training without random crops share."""

import operator
from typing import Any

import tensorflow as tf

Size = tuple[int, int]


def check_size(size: Any, name: str = "image_size") -> Size:
    """Checks a size in pixels.

    Args:
        size: an integer, or (height, width).
        name: of the argument, for the error.

    Returns:
        (height, width).

    Raises:
        ValueError: anything else.
    """
    try:
        pair = (operator.index(size),) * 2 if not isinstance(size, tuple | list) else tuple(map(operator.index, size))
    except TypeError:
        pair = ()
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{name} must be a positive integer or (height, width) in pixels, received {size!r}")
    return pair


def resize_and_crop(images: tf.Tensor, size: Size, crop_fraction: float = 1.0) -> tf.Tensor:
    """Scales images so that the centre crop of ``size`` covers ``crop_fraction`` of the tighter side, and crops.

    Values are rounded, so that float and uint8 images of one source are equal. Images of that size stay as they are.

    Args:
        images: (height, width, channels) or (batch, height, width, channels), uint8 or float in [0, 255].
        size: (height, width) of the result.
        crop_fraction: in (0, 1]; 1 keeps all of the tighter side.

    Returns:
        float32 of the same rank, whole values in [0, 255].

    Raises:
        ValueError: ``crop_fraction`` out of range.

    Example:
        >>> resize_and_crop(photo, (224, 224), crop_fraction=0.875)
    """
    if not 0 < crop_fraction <= 1:
        raise ValueError(f"crop_fraction must be in (0, 1], received {crop_fraction!r}")
    if images.shape[-3:-1] == size:
        return tf.cast(images, tf.float32)
    height, width = size
    # At least the crop's size on both sides; float64, so that a side that should equal it does.
    shape = tf.cast(tf.shape(images)[-3:-1], tf.float64)
    scale = tf.reduce_max(tf.constant([height, width], tf.float64) / shape) / crop_fraction
    wanted = tf.cast(tf.round(shape * scale), tf.int32)
    whole = tf.maximum(wanted, [height, width])
    resized = tf.image.resize(images, whole, method="bilinear", antialias=True)
    top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
    resized = resized[..., top : top + height, left : left + width, :]
    resized = tf.ensure_shape(resized, [*images.shape[:-3], height, width, images.shape[-1]])
    return tf.clip_by_value(tf.round(resized), 0.0, 255.0)
