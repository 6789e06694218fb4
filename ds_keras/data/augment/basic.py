"""Augmentation of whole batches: f(images, seed) -> images, a pure function of the images and the seed.

Images are (batch, height, width, channels) float32 in [0, 255]; seeds are (2,) integer tensors, as TensorFlow's
stateless random operations take them. Each image draws its own numbers.
"""

import tensorflow as tf

from ds_keras.data.augment.part import draw, here, noise, whole


def flip(images: tf.Tensor, seed: tf.Tensor, probability: float = 0.5) -> tf.Tensor:
    """Mirrors images left to right.

    Args:
        images: (batch, height, width, channels) float32.
        seed: (2,) integers.
        probability: of mirroring, for each image.

    Returns:
        Images of the same shape.

    Example:
        >>> flip(images, seed=[0, 1])
    """
    height, width = images.shape[1:3]
    chosen = draw(seed, [tf.shape(images)[0], 1]) < probability
    columns = tf.where(chosen, tf.range(width - 1, -1, -1), tf.range(width))
    return _take(images, tf.broadcast_to(tf.range(height), [tf.shape(images)[0], height]), columns)


def pad_crop(images: tf.Tensor, seed: tf.Tensor, pixels: int) -> tf.Tensor:
    """Pads with ``pixels`` of black and crops at random: moves by up to ``pixels`` along both axes.

    Args:
        images: (batch, height, width, channels) float32.
        seed: (2,) integers.
        pixels: at least 0.

    Returns:
        Images of the same shape.

    Example:
        >>> pad_crop(images, seed=[0, 1], pixels=4)
    """
    padded = tf.pad(images, [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]])
    return _take(padded, *_moved(images, seed, 0, 2 * pixels))


def shift(images: tf.Tensor, seed: tf.Tensor, pixels: int) -> tf.Tensor:
    """Moves images by up to ``pixels`` along both axes; what comes in repeats the edge.

    Args:
        images: (batch, height, width, channels) float32.
        seed: (2,) integers.
        pixels: at least 0.

    Returns:
        Images of the same shape.

    Example:
        >>> shift(images, seed=[0, 1], pixels=1)
    """
    height, width = images.shape[1:3]
    rows, columns = _moved(images, seed, -pixels, pixels)
    return _take(images, tf.clip_by_value(rows, 0, height - 1), tf.clip_by_value(columns, 0, width - 1))


def random_erasing(
    images: tf.Tensor,
    seed: tf.Tensor,
    probability: float = 0.25,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 3.3),
) -> tf.Tensor:
    """Replaces a random rectangle with uniform noise (arXiv 1708.04896).

    Args:
        images: (batch, height, width, channels) float32.
        seed: (2,) integers.
        probability: of erasing, for each image.
        area: smallest and largest rectangle, as a fraction of the image.
        aspect: smallest and largest height / width of the rectangle, before it is cut to the image.

    Returns:
        Images of the same shape.

    Example:
        >>> random_erasing(images, seed=[0, 1], probability=0.25)
    """
    batch, (height, width) = tf.shape(images)[0], images.shape[1:3]
    every = whole(seed, [5, batch], axis=1)
    drawn = here(every, batch, axis=1)
    size = (area[0] + (area[1] - area[0]) * drawn[1]) * (height * width)
    low, high = (tf.math.log(float(value)) for value in aspect)
    ratio = tf.exp(low + (high - low) * drawn[2])
    rows = _interval(tf.sqrt(size * ratio), drawn[3], height)
    columns = _interval(tf.sqrt(size / ratio), drawn[4], width)
    chosen = tf.where(drawn[0] < probability)  # (chosen, 1): noise for these images only, it is what takes the time
    inside = tf.gather_nd(rows, chosen)[:, :, None, None] & tf.gather_nd(columns, chosen)[:, None, :, None]
    part = tf.gather_nd(images, chosen)
    grains = noise(tf.random.fold_in(seed, 1), tf.shape(part), 255.0, every[0] < probability)
    return tf.tensor_scatter_nd_update(images, chosen, tf.where(inside, grains, part))


def _interval(length: tf.Tensor, position: tf.Tensor, size: int) -> tf.Tensor:
    """(batch, size) mask of ``length`` pixels that start at ``position`` in [0, 1) of the room left."""
    length = tf.clip_by_value(tf.round(length), 1.0, float(size))
    start = tf.floor(position * (size - length + 1))[:, None]
    index = tf.range(size, dtype=tf.float32)
    return (index >= start) & (index < start + length[:, None])


def _moved(images: tf.Tensor, seed: tf.Tensor, low: int, high: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Each image's row and column indices, moved by a random whole number in [low, high]: (batch, side) int32 each."""
    offsets = draw(seed, [2, tf.shape(images)[0], 1], low, high + 1, tf.int32, axis=1)
    return offsets[0] + tf.range(images.shape[1]), offsets[1] + tf.range(images.shape[2])


def _take(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Each image's own rows and columns, in one gather of pixels."""
    height, width, channels = images.shape[1:]
    flat = tf.reshape(images, [-1, height * width, channels])
    index = tf.reshape(rows[:, :, None] * width + columns[:, None, :], [-1, rows.shape[1] * columns.shape[1]])
    return tf.reshape(tf.gather(flat, index, batch_dims=1), [-1, rows.shape[1], columns.shape[1], channels])
