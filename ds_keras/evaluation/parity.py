"""Whether a bundle in LiteRT says what its model says in Keras, image by image."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.policies.labels import check_classes
from ds_keras.routing.execute import predict_levels

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet
    from ds_keras.runtime import Session


def check_bundle(model: "Supernet", session: "Session") -> None:
    """Refuses the bundle of a network with other images, levels or classes.

    Args:
        model: supernet.
        session: of the bundle.

    Raises:
        ValueError: it names both.
    """
    ours = model.image_shape, len(model.levels), model.num_classes
    theirs = session.image_shape, session.num_levels, session.manifest["num_classes"]
    if ours != theirs:
        raise ValueError(
            f"{session.bundle.path} must be a bundle of {model.name!r}, with (image shape, levels, classes) {ours}, "
            f"received one with {theirs}"
        )


def compare(model: "Supernet", session: "Session", x: Any, labels: Any) -> list[dict[str, Any]]:
    """Accuracy of a bundle, and how often it names the class that Keras names.

    Args:
        model: supernet.
        session: its bundle.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.

    Returns:
        Rows of level (or the default policy), top1 (LiteRT, percent), keras (its top-1), same (percent of the images
        with the same class), difference (the largest of a logit); for the policy, ``same`` asks for the level too.

    Raises:
        ValueError: a bundle of another network; see also ``check_classes``.
    """
    labels = check_classes(labels, len(x), model.num_classes)
    check_bundle(model, session)
    expected = predict_levels(model, x)
    found = np.stack([session.run(x, level=level).logits for level in range(session.num_levels)])
    rows = []
    for level, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        rows.append(_row(level, ours, theirs, labels, ours.argmax(1) == theirs.argmax(1)))
    ours, theirs = session.run(x), model.predict_routed(x)
    same = (ours.logits.argmax(1) == theirs.logits.argmax(1)) & (ours.levels == theirs.levels)
    rows.append(_row(f"default ({session.default_policy})", ours.logits, theirs.logits, labels, same))
    return rows


def _row(level: Any, ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray, same: np.ndarray) -> dict[str, Any]:
    return {
        "level": level,
        "top1": round(100 * float((ours.argmax(1) == labels).mean()), 2),
        "keras": round(100 * float((theirs.argmax(1) == labels).mean()), 2),
        "same": round(100 * float(same.mean()), 3),
        "difference": round(float(np.abs(ours - theirs).max()), 5),
    }
