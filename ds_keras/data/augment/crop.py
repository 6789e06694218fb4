"""Random resized crops (Inception style): a random area and aspect ratio, scaled to the training size."""

import math

import tensorflow as tf

from ds_keras.data.augment.part import draw
from ds_keras.data.resize import Size

ASPECT = (3 / 4, 4 / 3)


def random_boxes(
    seed: tf.Tensor, count: int | tf.Tensor, height: tf.Tensor, width: tf.Tensor, area: tuple[float, float]
) -> tf.Tensor:
    """Draws boxes; one that does not fit is cut to the image, so a box may be smaller than its drawn area.

    Args:
        seed: (2,) integers.
        count: number of boxes.
        height: of the images, in pixels.
        width: of the images, in pixels.
        area: smallest and largest box, as a fraction of the image.

    Returns:
        (count, 4) float32: top, left, height, width in pixels.
    """
    drawn = draw(seed, [4, count], axis=1)
    height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
    size = (area[0] + (area[1] - area[0]) * drawn[0]) * (height * width)
    low, high = (math.log(value) for value in ASPECT)
    ratio = tf.exp(low + (high - low) * drawn[1])  # width / height
    rows = tf.clip_by_value(tf.sqrt(size / ratio), 1.0, height)
    columns = tf.clip_by_value(tf.sqrt(size * ratio), 1.0, width)
    return tf.stack([drawn[2] * (height - rows), drawn[3] * (width - columns), rows, columns], axis=1)


def random_resized_crop(
    images: tf.Tensor, seed: tf.Tensor, size: Size, area: tuple[float, float] = (0.25, 1.0)
) -> tf.Tensor:
    """Crops each image of a batch at random and scales it (bilinear, not smoothed: meant for factors up to about 2).

    Args:
        images: (batch, height, width, channels), uint8 or float in [0, 255].
        seed: (2,) integers.
        size: (height, width) of the result.
        area: smallest and largest crop, as a fraction of the image.

    Returns:
        (batch, *size, channels) float32.

    Example:
        >>> random_resized_crop(images, seed=[0, 1], size=(112, 112), area=(0.35, 1.0))
    """
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]
    top, left, rows, columns = tf.unstack(random_boxes(seed, count, height, width, area), axis=1)
    # crop_and_resize takes the first and last sample points, as fractions of the distance between pixel centres.
    corners = [top, left, top + rows - 1, left + columns - 1]
    spans = [max(height - 1, 1), max(width - 1, 1)] * 2
    boxes = tf.stack([corner / span for corner, span in zip(corners, spans, strict=True)], axis=1)
    return tf.image.crop_and_resize(images, boxes, tf.range(count), size)


def random_resized_crop_one(image: tf.Tensor, seed: tf.Tensor, size: Size, area: tuple[float, float]) -> tf.Tensor:
    """As ``random_resized_crop``, for one image of any size: whole pixels, smoothed when it shrinks.

    Args:
        image: (height, width, channels), uint8 or float in [0, 255].
        seed: (2,) integers.
        size: (height, width) of the result.
        area: smallest and largest crop, as a fraction of the image.

    Returns:
        (*size, channels) float32.
    """
    shape = tf.shape(image)
    box = tf.cast(tf.round(random_boxes(seed, 1, shape[0], shape[1], area)[0]), tf.int32)
    top, left = tf.minimum(box[0], shape[0] - box[2]), tf.minimum(box[1], shape[1] - box[3])
    crop = tf.slice(image, [top, left, 0], [box[2], box[3], -1])
    scaled = tf.image.resize(crop, size, method="bilinear", antialias=True)
    return tf.clip_by_value(tf.ensure_shape(scaled, [*size, image.shape[-1]]), 0.0, 255.0)
