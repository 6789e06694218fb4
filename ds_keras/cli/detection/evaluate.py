"""Average precision of a detector's levels, for ``ds-keras evaluate``."""

from typing import Any

from absl import logging


def tables(flags: Any) -> dict[str, list[dict[str, Any]]]:
    """Measures every level in Keras, and in LiteRT where there is a bundle; writes the figures where that is asked.

    Args:
        flags: of ``ds-keras evaluate``.

    Returns:
        Rows to print, by their title.
    """
    from ds_keras import detection
    from ds_keras.core.files import write_json
    from ds_keras.detection.evaluation import evaluate_levels

    for_classifiers = {
        "policies": flags.policies != "default",
        "by_position": flags.by_position,
        "image_size": flags.image_size is not None,
    }
    for name, asked in for_classifiers.items():
        if asked:
            raise ValueError(f"--{name} is for classifiers, --preset is a detector: see ds-keras route_detector")
    model = detection.load(flags.preset)
    source = detection.load_data(flags.data).part(flags.split)
    session = detection.Session(flags.bundle) if flags.bundle else None
    figures = evaluate_levels(model, source)
    for row in figures if session is not None else ():
        logging.info("measuring level %d of the bundle", row["level"])
        row["bundle"] = detection.evaluate(session, source, row["level"])
    if flags.json:
        write_json(flags.json, {"preset": flags.preset, "data": flags.data, "split": flags.split, "levels": figures})
    return {f"{model.name}, average precision ({len(source)} images)": [_shown(row) for row in figures]}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    cells = {"level": row["level"], "MMAdds": f"{row['madds'] / 1e6:.1f}"}
    cells |= {"mAP@0.5": _number(row["map50"]), "mAP": _number(row["map"])}
    if "bundle" in row:
        cells |= {"in LiteRT": _number(row["bundle"]["map50"]), "mAP there": _number(row["bundle"]["map"])}
    return cells | {name: _number(value) for name, value in row["classes"].items()}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
