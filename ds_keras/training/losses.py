"""The losses of both stages, as functions of logits."""

import tensorflow as tf

from ds_keras.core.backend import rows_of_replica


def smooth_labels(labels: tf.Tensor, num_classes: int, smoothing: float) -> tf.Tensor:
    """Classes to target distributions.

    Args:
        labels: (batch,) integers, or (batch, num_classes) probabilities (mixup).
        num_classes: number of classes.
        smoothing: share of the mass spread over all classes, in [0, 1).

    Returns:
        (batch, num_classes) float32.

    Raises:
        ValueError: see ``check_labels``.
        tf.errors.InvalidArgumentError: a class that is none of ``num_classes``.
    """
    labels = check_labels(labels, num_classes)
    if labels.shape.rank == 2:
        soft = tf.cast(labels, tf.float32)
    else:
        labels = tf.cast(labels, tf.int32)
        known = tf.reduce_all((labels >= 0) & (labels < num_classes))
        message = f"labels must be classes in [0, {num_classes - 1}], received"
        assertion = tf.debugging.Assert(known, [message, labels])  # one_hot would give such a label no class at all
        with tf.control_dependencies([] if assertion is None else [assertion]):
            soft = tf.one_hot(labels, num_classes)
    return soft * (1 - smoothing) + smoothing / num_classes


def check_labels(labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Labels as a tensor: integer classes, or probabilities.

    Args:
        labels: (batch,) integers, or (batch, num_classes) float probabilities.
        num_classes: number of classes.

    Returns:
        The tensor.

    Raises:
        ValueError: another shape, (batch, 1) among them, or integers where probabilities are due.
    """
    labels = tf.convert_to_tensor(labels)
    soft = labels.shape.rank == 2 and labels.shape[1] == num_classes and labels.dtype.is_floating
    if labels.shape.rank != 1 and not soft:
        raise ValueError(
            f"labels must be (batch,) integers or (batch, {num_classes}) float probabilities, "
            f"received {labels.dtype.name} {tuple(labels.shape)}"
        )
    return labels


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor, weights: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Mean cross-entropy of logits to target distributions.

    Args:
        targets: (batch, classes) probabilities; no gradient flows into them.
        logits: (batch, classes).
        weights: (batch,) of the images.

    Returns:
        Scalar float32.
    """
    losses = tf.nn.softmax_cross_entropy_with_logits(tf.stop_gradient(targets), tf.cast(logits, tf.float32))
    return tf.reduce_mean(weights * losses)


def sandwich(easy: tf.Tensor, gate_logits: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """The gate's loss: level 0 where an image is easy, the last level where it is not.

    Args:
        easy: (batch,) in [0, 1].
        gate_logits: (batch, levels).
        share: of easy images, scalar: easy and hard ones are weighted to equal mass by it.

    Returns:
        Scalar float32. Source: DS-Net, arXiv 2103.13258, section 3.4; the weights are ours.
    """
    log = tf.nn.log_softmax(tf.cast(gate_logits, tf.float32))
    share = tf.clip_by_value(share, 0.01, 0.99)
    first = easy * log[:, 0] * 0.5 / share
    last = (1 - easy) * log[:, -1] * 0.5 / (1 - share)
    return -tf.reduce_mean(first + last)


def gumbel_one_hot(logits: tf.Tensor, seed: tf.Tensor, temperature: float = 1.0) -> tf.Tensor:
    """A one-hot sample of softmax(logits) whose gradient is the softmax's (straight-through).

    Args:
        logits: (batch, levels) float32.
        seed: (2,) integers: the sample is a pure function of it, and of the image's place in the whole batch.
        temperature: of the softmax.

    Returns:
        (batch, levels) float32, one-hot. Source: DS-Net, arXiv 2103.13258, section 3.2.
    """
    levels = logits.shape[-1]
    uniform = rows_of_replica(
        lambda rows: tf.random.stateless_uniform([rows, levels], seed, minval=1e-7, maxval=1.0), tf.shape(logits)[0]
    )
    soft = tf.nn.softmax((logits - tf.math.log(-tf.math.log(uniform))) / temperature)
    hard = tf.one_hot(tf.argmax(soft, axis=1), logits.shape[-1])
    return hard + soft - tf.stop_gradient(soft)
