"""Figures of an LC-ResNet on a labelled set: what its decisions cost and score, beside decisions that know no image."""

from typing import Any

import numpy as np

from ds_keras.evaluation.tables import Figures, evaluate_preset
from ds_keras.lcnet.cost import Executed
from ds_keras.lcnet.model import LCResNet
from ds_keras.policies.labels import check_classes

ABOUT_LC = {
    "dynamic": "each image runs what its own scales leave",
    "shuffled": "each image runs with the scales of another one, drawn at random: the same cost, without the decision",
    "fixed": "every image runs the same units, those that held-out images run most, at their cost or a little more, "
    "each at the mean scale of the images that run it",
    "whole": "the network before Stage II, every image runs everything",
}
SHARES = (5, 50, 95)  # percentiles of what images spend


@evaluate_preset.register
def _(model: LCResNet, x: Any, labels: Any, card: dict[str, Any], batch_size: int = 256) -> Figures:
    found = evaluate_lc(model, x, labels, card.get("fixed"), batch_size)
    spread = [{"percentile": at, "share": share} for at, share in zip(SHARES, found["spread"], strict=True)]
    tables = {"runs": found["runs"], "units": found["units"]}
    return Figures(found, {**tables, "share of the MAdds at percentiles of the images": spread})


def evaluate_lc(model: LCResNet, x: Any, labels: Any, fixed: Any = None, batch_size: int = 256) -> dict[str, Any]:
    """Accuracy and cost of a network that skips, and of the same network where nothing depends on the image.

    Args:
        model: LC-ResNet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        fixed: (units,) of ``fixed_scales`` on other images; None leaves that run out.
        batch_size: images at a time.

    Returns:
        {"runs": rows of run (see ``ABOUT_LC``), top1 (percent), madds and share (of the whole network's), averages;
        "spread": the percentiles ``SHARES`` of an image's share; "units": rows of unit and runs (percent of the
        images)}.

    Raises:
        ValueError: see ``check_classes``.

    Example:
        >>> evaluate_lc(model, images, labels)["runs"]
    """
    labels = check_classes(labels, len(x), model.num_classes)
    own = model.run(x, batch_size)
    given = {}
    if model.units:
        given["shuffled"] = own.scales[np.random.default_rng(0).permutation(len(x))]
    if fixed is not None:
        given["fixed"] = np.broadcast_to(np.asarray(fixed, "float32"), own.scales.shape)
    runs = {"dynamic": own} | {name: model.run(x, batch_size, scales) for name, scales in given.items()}
    spent = np.percentile(own.madds / model.madds, SHARES)
    return {
        "runs": [_row(model, name, executed, labels) for name, executed in runs.items()],
        "spread": [round(float(share), 4) for share in spent],
        "units": [
            {"unit": unit, "runs": round(100 * float(share), 1)}
            for unit, share in zip(model.units, (own.scales > 0).mean(axis=0), strict=True)
        ],
    }


def fixed_scales(
    model: LCResNet, x: Any, batch_size: int = 256, above: bool = True, own: Executed | None = None
) -> np.ndarray:
    """The same scales for every image: the units that most images run, at the average cost or a little more.

    Args:
        model: LC-ResNet that skips something.
        x: (count, height, width, channels) images in [0, 255].
        batch_size: images at a time.
        above: False leaves out the last unit, with which the cost gets to the average: a little less.
        own: what ``model.run(x)`` gave, where it is known.

    Returns:
        (units,) float32 in [0, 1].
    """
    own = model.run(x, batch_size) if own is None else own
    on = own.scales > 0
    means = own.scales.sum(axis=0) / np.maximum(on.sum(axis=0), 1)
    scales = np.zeros((1, len(model.units)), "float32")
    for unit in np.argsort(-on.mean(axis=0), kind="stable"):  # a block comes before its groups
        if model.run(x[:1], scales=scales).madds[0] >= own.madds.mean():
            break
        before = scales.copy()
        scales[0, unit] = means[unit]
        if not above and model.run(x[:1], scales=scales).madds[0] > own.madds.mean():
            return before[0]
    return scales[0]


def fixed_top1(model: LCResNet, x: Any, labels: Any, batch_size: int = 256) -> float:
    """Top-1 of the same units for every image at exactly the network's average cost.

    That is a mixture: of ``fixed_scales`` a little above the cost, and a little below, whichever image gets which.

    Args:
        model: LC-ResNet that skips something.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        Percent.
    """
    own, found = model.run(x, batch_size), []
    asked = own.madds.mean()
    for above in (False, True):
        scales = np.broadcast_to(fixed_scales(model, x, batch_size, above, own), (len(x), len(model.units)))
        found.append(_row(model, "fixed", model.run(x, batch_size, scales), np.asarray(labels)))
    (less, low), (more, high) = ((row["madds"], row["top1"]) for row in found)
    share = 1.0 if more == less else min(max((asked - less) / (more - less), 0.0), 1.0)
    return float(low + share * (high - low))


def whole_row(model: LCResNet, x: Any, labels: Any, batch_size: int = 256) -> dict[str, Any]:
    """The row of a network that runs everything at the scale 1: what Stage I trains.

    Args:
        model: LC-ResNet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        A row as in ``evaluate_lc``; run is "whole".
    """
    return _row(model, "whole", model.run(x, batch_size, np.ones((len(x), len(model.units)))), np.asarray(labels))


def _row(model: LCResNet, name: str, executed: Executed, labels: np.ndarray) -> dict[str, Any]:
    madds = float(executed.madds.mean())
    return {
        "run": name,
        "top1": round(100 * float((executed.logits.argmax(1) == labels).mean()), 2),
        "madds": round(madds),
        "share": round(madds / model.madds, 4),
    }
