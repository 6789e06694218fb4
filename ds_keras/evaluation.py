"""Figures of a model on a labelled set: every level, and every policy beside what it has to beat."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras import cost, routing

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def evaluate(model: "Supernet", x: Any, labels: Any, batch_size: int = 256) -> dict[str, list[dict[str, Any]]]:
    """Accuracy and cost of every level and every policy.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        {"levels": rows of level, top1, top5 (percent), madds, params; "policies": rows of policy, top1, madds, share
        (of the largest level's MAdds), mix (share of the images at each level)}. "static" interpolates the fixed
        levels at the default policy's cost; "random" draws levels with the default policy's mix.
    """
    labels = np.asarray(labels)
    levels = evaluate_levels(model, x, labels, batch_size)
    default = model.predict_routed(x, batch_size=batch_size)
    mix = np.bincount(default.levels, minlength=len(levels)) / len(labels)
    runs = {"gate": {}, "cascade": {}, "random": {"mix": mix, "seed": 0}, "oracle": {"labels": labels}}
    rows = [_row(model, f"default ({model.default_policy})", default, labels)]
    for name, options in runs.items():
        routed = model.predict_routed(x, policy=name, batch_size=batch_size, **options)
        rows.append(_row(model, name, routed, labels))
    costs, scores = [row["madds"] for row in levels], [row["top1"] for row in levels]
    spent = rows[0]["madds"]
    rows.append(
        {
            "policy": "static, interpolated",
            "top1": round(float(np.interp(spent, costs, scores)), 2),
            "madds": spent,
            "share": rows[0]["share"],
            "mix": None,
        }
    )
    return {"levels": levels, "policies": rows}


def evaluate_levels(model: "Supernet", x: Any, labels: Any, batch_size: int = 256) -> list[dict[str, Any]]:
    """Accuracy and cost of every level.

    Args:
        model: supernet.
        x: (count, height, width, channels) images in [0, 255].
        labels: (count,) integer classes.
        batch_size: images at a time.

    Returns:
        Rows of level, top1, top5 (percent; top5 None where there are no more than 5 classes), madds, params.
    """
    labels = np.asarray(labels)
    return [
        {
            "level": k,
            "top1": _percent(_top(logits, labels, 1)),
            "top5": _percent(_top(logits, labels, 5)) if model.num_classes > 5 else None,
            "madds": cost.madds(model, k),
            "params": cost.params(model, k),
        }
        for k, logits in enumerate(routing.predict_levels(model, x, batch_size))
    ]


def _row(model: "Supernet", name: str, routed: routing.Routed, labels: np.ndarray) -> dict[str, Any]:
    madds = float(routed.madds.mean())
    mix = np.bincount(routed.levels, minlength=len(model.levels)) / len(labels)
    return {
        "policy": name,
        "top1": _percent(_top(routed.logits, labels, 1)),
        "madds": round(madds),
        "share": round(madds / cost.madds(model, len(model.levels) - 1), 4),
        "mix": [round(float(m), 4) for m in mix],
    }


def _top(logits: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    best = logits.argmax(1)[:, None] if k == 1 else np.argsort(-logits, axis=1)[:, :k]
    return (best == labels[:, None]).any(1)


def _percent(right: np.ndarray) -> float:
    return round(100 * float(right.mean()), 2)
