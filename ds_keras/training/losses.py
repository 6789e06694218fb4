"""The losses of both stages, as functions of logits."""

import tensorflow as tf


def smooth_labels(labels: tf.Tensor, num_classes: int, smoothing: float) -> tf.Tensor:
    """Classes to target distributions.

    Args:
        labels: (batch,) integers, or (batch, num_classes) probabilities (mixup).
        num_classes: number of classes.
        smoothing: share of the mass spread over all classes, in [0, 1).

    Returns:
        (batch, num_classes) float32.
    """
    labels = check_labels(labels, num_classes)
    soft = tf.cast(labels, tf.float32) if labels.shape.rank == 2 else tf.one_hot(tf.cast(labels, tf.int32), num_classes)
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


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of logits to target distributions.

    Args:
        targets: (batch, classes) probabilities; no gradient flows into them.
        logits: (batch, classes).

    Returns:
        Scalar float32.
    """
    losses = tf.nn.softmax_cross_entropy_with_logits(tf.stop_gradient(targets), tf.cast(logits, tf.float32))
    return tf.reduce_mean(losses)


def sandwich_targets(smallest_logits: tf.Tensor, labels: tf.Tensor, num_levels: int) -> tf.Tensor:
    """Stage II's labels for the gate: level 0 where the smallest sub-network is right, else the last level.

    Args:
        smallest_logits: (batch, classes).
        labels: (batch,) integers.
        num_levels: number of levels.

    Returns:
        (batch,) int32. Source: DS-Net, arXiv 2103.13258, section 3.4 (sandwich gate sparsification).
    """
    right = tf.equal(tf.argmax(smallest_logits, axis=1, output_type=tf.int32), tf.cast(labels, tf.int32))
    return tf.where(right, 0, num_levels - 1)


def gumbel_one_hot(logits: tf.Tensor, seed: tf.Tensor, temperature: float = 1.0) -> tf.Tensor:
    """A one-hot sample of softmax(logits) whose gradient is the softmax's (straight-through).

    Args:
        logits: (batch, levels) float32.
        seed: (2,) integers: the sample is a pure function of it.
        temperature: of the softmax.

    Returns:
        (batch, levels) float32, one-hot. Source: DS-Net, arXiv 2103.13258, section 3.2.
    """
    uniform = tf.random.stateless_uniform(tf.shape(logits), seed, minval=1e-7, maxval=1.0)
    soft = tf.nn.softmax((logits - tf.math.log(-tf.math.log(uniform))) / temperature)
    hard = tf.one_hot(tf.argmax(soft, axis=1), logits.shape[-1])
    return hard + soft - tf.stop_gradient(soft)
