"""Batches of images with boxes: their order and augmentation are pure functions of (seed, step).

What augments an image moves its boxes along.
"""

import numpy as np
import tensorflow as tf

from ds_keras.data.pipeline import shuffled
from ds_keras.data.resize import Size, check_size
from ds_keras.detection.data.source import BoxSource

IGNORED, NOTHING = -1, -2  # classes of boxes that nothing is learnt from, and of rows that are none
ZOOM = (0.7, 1.4)  # smallest and largest, of each side on its own within ASPECT
ASPECT = (0.87, 1.15)
KEPT = 0.4  # share of a box that must lie in the image for it to be found
_AUGMENT = 1  # a stream of random numbers


def batches(
    source: BoxSource,
    batch_size: int,
    image_size: int | Size,
    seed: int = 0,
    augment: bool = True,
    start_step: int = 0,
    parallel: int = 2,
) -> tf.data.Dataset:
    """Endless training batches that resume exactly; every image is seen once in an epoch.

    Images are stretched to one size. ``augment`` mirrors them, zooms (mean grey around a smaller one), moves them, and
    changes brightness, contrast and the strength of each colour.

    Args:
        source: the images.
        batch_size: images in every batch.
        image_size: integer or (height, width) in pixels.
        seed: of order and augmentation, in [0, 2**31).
        augment: whether images are augmented.
        start_step: step of the first batch; what an uninterrupted stream gives there.
        parallel: images that are prepared at a time.

    Returns:
        Dataset of (images, boxes, classes): float32 (batch, height, width, channels) in [0, 255], float32 (batch, most,
        4), fractions, and int32 (batch, most): a class, ``IGNORED`` (difficult, or mostly outside the image) or
        ``NOTHING`` (no box). ``most`` is the largest number of boxes on an image.

    Raises:
        ValueError: bad argument.

    Example:
        >>> trainer.fit(batches(sets.train, 8, (192, 256)), steps_per_epoch=100)
    """
    size = check_size(image_size)
    for name, value, low in (("batch_size", batch_size, 1), ("seed", seed, 0), ("start_step", start_step, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
            raise ValueError(f"{name} must be an integer of at least {low}, received {value!r}")
    boxes, classes = padded(source)
    with tf.init_scope(), tf.device("CPU:0"):
        tables = tf.constant(source.indices), tf.constant(boxes), tf.constant(classes)

    def load(example: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        place = shuffled(example, len(source), seed)
        index, found, kinds = (tf.gather(table, place) for table in tables)
        image = source.storage.load(index)
        if not augment:
            return resized(image, size), found, kinds
        return augmented(image, found, kinds, size, tf.stack([tf.constant(4 * seed + _AUGMENT, tf.int64), example]))

    dataset = tf.data.Dataset.range(start_step * batch_size, 2**62)
    dataset = dataset.map(load, num_parallel_calls=parallel, deterministic=True)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(2)


def padded(source: BoxSource) -> tuple[np.ndarray, np.ndarray]:
    """All boxes of a source in one array.

    Args:
        source: the images.

    Returns:
        (images, most, 4) float32 and (images, most) int32: see ``batches``.
    """
    most = max(1, *(len(one.boxes) for one in source.things)) if len(source) > 1 else max(1, source.count)
    boxes = np.zeros((len(source), most, 4), np.float32)
    classes = np.full((len(source), most), NOTHING, np.int32)
    for i, one in enumerate(source.things):
        boxes[i, : len(one.boxes)] = one.boxes
        classes[i, : len(one.boxes)] = np.where(one.difficult, IGNORED, one.classes)
    return boxes, classes


def resized(image: tf.Tensor, size: Size) -> tf.Tensor:
    """An image stretched to a size: (height, width, channels) float32, whole values."""
    if image.shape[:2] == size:
        return tf.cast(image, tf.float32)
    return tf.clip_by_value(tf.round(tf.image.resize(image, size, antialias=True)), 0.0, 255.0)


def augmented(
    image: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor, size: Size, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """One image and its boxes: mirrored, zoomed, moved, and in other colours; a pure function of the seed.

    Args:
        image: (height, width, channels), uint8 or float in [0, 255].
        boxes: (most, 4) fractions.
        classes: (most,) integers.
        size: (height, width) of the result.
        seed: (2,) integers.

    Returns:
        Image of that size, boxes and classes: a box that lies mostly outside becomes ``IGNORED``.
    """
    seeds = [tf.random.fold_in(seed, k) for k in range(4)]
    low, high = (tf.math.log(tf.constant(value)) for value in ZOOM)
    zoom = tf.exp(tf.random.stateless_uniform([], seeds[0], low, high))
    scale = zoom * tf.random.stateless_uniform([2], seeds[1], *ASPECT)  # of height and width
    whole = tf.cast(tf.round(scale * tf.cast(size, tf.float32)), tf.int32)
    place = tf.random.stateless_uniform([2], seeds[2])
    room = whole - size
    # Where the result begins in the zoomed image; negative where that is smaller.
    start = tf.sign(room) * tf.cast(place * tf.cast(tf.abs(room) + 1, tf.float32), tf.int32)
    image = _window(tf.image.resize(image, whole, antialias=True), start, whole, size)
    side, begin = tf.cast(size[::-1], tf.float32), tf.cast(start[::-1], tf.float32)
    corners = (tf.reshape(boxes, [-1, 2, 2]) * tf.cast(whole[::-1], tf.float32) - begin) / side
    moved = tf.reshape(corners, [-1, 4])
    inside = tf.clip_by_value(moved, 0.0, 1.0)
    classes = tf.where((classes >= 0) & (_area(inside) < KEPT * _area(moved)), IGNORED, classes)
    drawn = tf.random.stateless_uniform([6], seeds[3], -1.0, 1.0)
    mirror = drawn[0] < 0
    image = tf.where(mirror, image[:, ::-1], image)
    turned = tf.stack([1 - inside[:, 2], inside[:, 1], 1 - inside[:, 0], inside[:, 3]], axis=-1)
    colours = 1 + 0.1 * drawn[3 : 3 + image.shape[-1]]
    image = (image - 127.5) * (1 + 0.25 * drawn[1]) * colours + 127.5 + 25 * drawn[2]
    return tf.clip_by_value(image, 0.0, 255.0), tf.where(mirror, turned, inside), classes


def _window(image: tf.Tensor, start: tf.Tensor, whole: tf.Tensor, size: Size) -> tf.Tensor:
    """The part of an image that begins at ``start``, with the mean grey where there is no image."""
    before = tf.maximum(-start, 0)
    after = tf.maximum(start + size - whole, 0)
    image = tf.pad(image, [[before[0], after[0]], [before[1], after[1]], [0, 0]], constant_values=127.5)
    start = tf.maximum(start, 0)
    image = image[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    return tf.ensure_shape(image, [*size, image.shape[-1]])


def _area(boxes: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
