"""What labels must be, for everything that counts right answers. numpy alone."""

from typing import Any

import numpy as np


def check_classes(labels: Any, count: int, num_classes: int) -> np.ndarray:
    """Labels of a labelled set.

    Args:
        labels: (count,) integer classes; of Keras' own sets, whose labels are (count, 1), give ``labels[:, 0]``.
        count: images of the set.
        num_classes: classes of the model.

    Returns:
        (count,) integers.

    Raises:
        ValueError: another shape or type, a class that the model does not know, or no image.

    Example:
        >>> check_classes([0, 2], count=2, num_classes=3)
        array([0, 2])
    """
    labels = np.asarray(labels)
    if labels.shape != (count,) or not count or labels.dtype.kind not in "ui":
        raise ValueError(
            f"labels must be integers of shape ({count},), and name at least one image, "
            f"received {labels.dtype} of shape {labels.shape}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"labels must be classes in [0, {num_classes - 1}], received classes from {low} to {high}")
    return labels
