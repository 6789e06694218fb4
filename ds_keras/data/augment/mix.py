"""Mixup: convex combinations of images and of their labels."""

import tensorflow as tf

from ds_keras.data.augment.part import draw


def mixup(
    images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, num_classes: int, alpha: float = 0.2
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each image with another of its batch (arXiv 1710.09412), one weight for each pair.

    Args:
        images: (batch, height, width, channels), uint8 or float in [0, 255].
        labels: (batch,) integer classes.
        seed: (2,) integers.
        num_classes: of the labels.
        alpha: of the Beta(alpha, alpha) distribution of the weight, above 0.

    Returns:
        (images, labels): float32 of the same shape; float32 (batch, num_classes) probabilities.

    Raises:
        ValueError: ``alpha`` is not above 0.

    Example:
        >>> images, soft_labels = mixup(images, labels, seed=[0, step], num_classes=10)
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0, received {alpha!r}")
    count = tf.shape(images)[0]
    # Beta from two gammas; both may underflow to 0 for a small alpha, then the weight is 0 or 1, as it should be.
    gammas = tf.random.stateless_gamma([2, count], tf.random.fold_in(seed, 0), alpha=alpha)
    total = tf.reduce_sum(gammas, 0)
    coin = tf.cast(draw(tf.random.fold_in(seed, 1), [count]) < 0.5, tf.float32)
    weight = tf.where(total > 0, tf.math.divide_no_nan(gammas[0], total), coin)
    partner = tf.argsort(draw(tf.random.fold_in(seed, 2), [count]))
    images, soft = tf.cast(images, tf.float32), tf.one_hot(labels, num_classes)
    wide = weight[:, None, None, None]
    mixed = wide * images + (1 - wide) * tf.gather(images, partner)
    return mixed, weight[:, None] * soft + (1 - weight[:, None]) * tf.gather(soft, partner)
