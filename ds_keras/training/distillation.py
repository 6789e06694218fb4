"""Another network as the teacher of Stage I."""

import os
from typing import Any

from ds_keras import zoo
from ds_keras.models.supernet import Supernet

TEACHERS = ("largest", "next")  # levels of the moving average, where no other network teaches


def trained_teacher(teacher: Any, model: Supernet) -> Supernet:
    """The teacher of "distill": a supernet that takes the model's images and knows its classes.

    Args:
        teacher: a supernet, or the name or the directory of a preset.
        model: that learns from it.

    Returns:
        The teacher.

    Raises:
        ValueError: something else, or a network of other images or classes.
    """
    if isinstance(teacher, str | os.PathLike) and teacher not in TEACHERS:
        teacher = zoo.load(teacher)
    if not isinstance(teacher, Supernet):
        raise ValueError(
            f"teacher must be a trained supernet or a preset for objective='distill', received {teacher!r}"
        )
    for name in ("num_classes", "image_shape"):
        ours, theirs = getattr(model, name), getattr(teacher, name)
        if ours != theirs:
            raise ValueError(f"teacher must have the model's {name}, {ours}, received one with {theirs}")
    if None not in (model.labels, teacher.labels) and model.labels != teacher.labels:
        raise ValueError(f"teacher must have the model's labels, {model.labels}, received one with {teacher.labels}")
    return teacher
