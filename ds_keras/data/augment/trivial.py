"""TrivialAugment and RandAugment for whole batches.

Each image draws one operation of ``OPERATIONS``; the batch is partitioned by operation, every part runs densely, and
the parts are put back in order. Strengths are signed, from -1 to 1.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from ds_keras.data.augment.part import draw

Ranges = dict[str, float]
# Strength at magnitude 1: arXiv 2103.10158's wide ranges, and RandAugment's (arXiv 1909.13719).
WIDE = {"shear": 0.99, "translate": 1.0, "rotate": 135.0, "blend": 0.99, "bits": 6.0, "solarize": 256.0}
NARROW = {"shear": 0.3, "translate": 0.45, "rotate": 30.0, "blend": 0.9, "bits": 4.0, "solarize": 256.0}


def trivial_augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One random operation at a random strength for each image (TrivialAugment Wide, arXiv 2103.10158).

    Without equalize. Translation reaches the whole side: 32 pixels of a 32-pixel image, as published, and in proportion
    for other sizes.

    Args:
        images: (batch, height, width, channels) float32 in [0, 255].
        seed: (2,) integers.

    Returns:
        Images of the same shape, in [0, 255].

    Example:
        >>> trivial_augment(images, seed=tf.constant([0, 1]))
    """
    magnitude = draw(tf.random.fold_in(seed, 0), [tf.shape(images)[0]])
    return _apply(images, tf.random.fold_in(seed, 1), magnitude, WIDE)


def rand_augment(images: tf.Tensor, seed: tf.Tensor, count: int = 2, magnitude: float = 9.0) -> tf.Tensor:
    """``count`` random operations at one strength (RandAugment, arXiv 1909.13719; without equalize).

    Args:
        images: (batch, height, width, channels) float32 in [0, 255].
        seed: (2,) integers.
        count: operations for each image, drawn with replacement.
        magnitude: in [0, 10].

    Returns:
        Images of the same shape, in [0, 255].

    Example:
        >>> rand_augment(images, seed=tf.constant([0, 1]), count=2, magnitude=9)
    """
    strength = tf.fill([tf.shape(images)[0]], magnitude / 10)
    for k in range(count):
        images = _apply(images, tf.random.fold_in(seed, k), strength, NARROW)
    return images


def _apply(images: tf.Tensor, seed: tf.Tensor, magnitude: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    batch, count = tf.shape(images)[0], len(OPERATIONS)
    drawn = draw(tf.random.fold_in(seed, 0), [batch], 0, count, tf.int32)
    sign = tf.where(draw(tf.random.fold_in(seed, 1), [batch]) < 0.5, -1.0, 1.0)
    order = tf.dynamic_partition(tf.range(batch), drawn, count)
    parts = tf.dynamic_partition(images, drawn, count)
    strengths = tf.dynamic_partition(magnitude * sign, drawn, count)
    done = [
        operation(part, strength, ranges)
        for operation, part, strength in zip(OPERATIONS.values(), parts, strengths, strict=True)
    ]
    return tf.ensure_shape(tf.clip_by_value(tf.dynamic_stitch(order, done), 0.0, 255.0), images.shape)


def _identity(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return images


def _shear_x(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return _warp(images, strength, b=ranges["shear"] * strength)


def _shear_y(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return _warp(images, strength, d=ranges["shear"] * strength)


def _translate_x(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return _warp(images, strength, right=tf.round(ranges["translate"] * images.shape[2] * strength))


def _translate_y(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return _warp(images, strength, down=tf.round(ranges["translate"] * images.shape[1] * strength))


def _rotate(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    angle = ranges["rotate"] * math.pi / 180 * strength
    return _warp(images, strength, a=tf.cos(angle), b=-tf.sin(angle), d=tf.sin(angle), e=tf.cos(angle))


def _warp(
    images: tf.Tensor,
    strength: tf.Tensor,
    a: tf.Tensor | float = 1.0,
    b: tf.Tensor | float = 0.0,
    d: tf.Tensor | float = 0.0,
    e: tf.Tensor | float = 1.0,
    right: tf.Tensor | float = 0.0,
    down: tf.Tensor | float = 0.0,
) -> tf.Tensor:
    """Takes pixel (x, y) from (a x + b y - right, d x + e y - down), coordinates from the centre; black outside."""
    height, width = images.shape[1:3]
    x, y = (width - 1) / 2, (height - 1) / 2
    c, f = x - a * x - b * y - right, y - d * x - e * y - down
    rows = [value + tf.zeros_like(strength) for value in (a, b, c, d, e, f, 0.0, 0.0)]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _brightness(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return images * _wide(1 + ranges["blend"] * strength)


def _colour(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return _blend(images, _grey(images), strength, ranges)


def _contrast(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return _blend(images, tf.reduce_mean(_grey(images), [1, 2], keepdims=True), strength, ranges)


def _sharpness(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    """Blends with Pillow's smoothing kernel (1 1 1, 1 5 1, 1 1 1) / 13; the outermost pixels repeat."""
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    smooth = (9 * tf.nn.avg_pool2d(padded, 3, 1, "VALID") + 4 * images) / 13
    return _blend(images, smooth, strength, ranges)


def _posterize(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    step = _wide(2.0 ** tf.round(ranges["bits"] * tf.abs(strength)))
    return tf.floor(images / step) * step


def _solarize(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    threshold = _wide(256.0 - ranges["solarize"] * tf.abs(strength))
    return tf.where(images >= threshold, 255.0 - images, images)


def _autocontrast(images: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    """Stretches every channel to [0, 255]; flat ones stay."""
    low, high = tf.reduce_min(images, [1, 2], keepdims=True), tf.reduce_max(images, [1, 2], keepdims=True)
    return tf.where(high - low >= 1, (images - low) * (255.0 / tf.maximum(high - low, 1.0)), images)


def _blend(images: tf.Tensor, degenerate: tf.Tensor, strength: tf.Tensor, ranges: Ranges) -> tf.Tensor:
    return degenerate + _wide(1 + ranges["blend"] * strength) * (images - degenerate)


def _grey(images: tf.Tensor) -> tf.Tensor:
    weights = [1.0] if images.shape[-1] == 1 else [0.299, 0.587, 0.114]
    return tf.add_n([weight * images[..., k : k + 1] for k, weight in enumerate(weights)])


def _wide(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


OPERATIONS: dict[str, Callable[[tf.Tensor, tf.Tensor, Ranges], tf.Tensor]] = {
    "identity": _identity,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "rotate": _rotate,
    "brightness": _brightness,
    "colour": _colour,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
}
