"""Three ways to add a branch that only some images need: for all of them, in sub-batches, or in a conditional.

Each is called as ``how(y, scale, branch, *x)`` and gives y + scale x branch(*x), where a scale of 0 means that an image
does without the branch.
"""

from collections.abc import Callable

import tensorflow as tf

Branch = Callable[..., tf.Tensor]
How = Callable[..., tf.Tensor]


def in_full(y: tf.Tensor, scale: tf.Tensor, branch: Branch, *x: tf.Tensor) -> tf.Tensor:
    """Runs the branch for every image, so that gradients reach the scales: for training.

    Args:
        y: (batch, ...) what the branch is added to.
        scale: (batch,) in [0, 1].
        branch: of x, to the shape of y.
        *x: (batch, ...) each.

    Returns:
        The sum.
    """
    return y + _like(scale, y) * branch(*x)


def in_sub_batches(y: tf.Tensor, scale: tf.Tensor, branch: Branch, *x: tf.Tensor) -> tf.Tensor:
    """Runs the branch on the images that need it, as one dense batch; on none, nothing runs. Arguments as above."""
    rows = tf.where(scale > 0)[:, 0]

    def add() -> tf.Tensor:
        part = branch(*(tf.gather(each, rows) for each in x))
        return tf.tensor_scatter_nd_add(y, rows[:, None], _like(tf.gather(scale, rows), part) * part)

    return tf.cond(tf.size(rows) > 0, add, lambda: y)


def in_conditional(y: tf.Tensor, scale: tf.Tensor, branch: Branch, *x: tf.Tensor) -> tf.Tensor:
    """Runs the branch, for the whole batch, where an image needs it: for files, which run one. Arguments as above."""
    return tf.cond(tf.reduce_any(scale > 0), lambda: in_full(y, scale, branch, *x), lambda: y)


def _like(scale: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(scale, y.dtype), [-1] + [1] * (y.shape.rank - 1))
