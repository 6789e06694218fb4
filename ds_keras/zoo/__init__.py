"""The zoo: presets as plain data. A preset is a folder with JSON, weights and their hash; nothing in it is run."""

import difflib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.files import replacing, sha256, write_bytes, write_json

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet

FORMAT_VERSION = 1
ALIASES = {"ds_mobilenet": "ds_mobilenet_digits"}
CONFIG, WEIGHTS, METRICS, CARD = "config.json", "model.weights.h5", "metrics.json", "README.md"


def load(name: str | os.PathLike, num_classes: int | None = None) -> "Supernet":
    """Loads a trained supernet.

    Args:
        name: preset, alias, or a directory that holds one.
        num_classes: gives the model a new, untrained classifier of this size, for fine-tuning.

    Returns:
        A supernet, built.

    Raises:
        ValueError: unknown preset, or a damaged or unreadable one (the error says which file, and both hashes).

    Example:
        >>> model = ds_keras.zoo.load("ds_mobilenet")
        >>> logits = model(images)
    """
    from ds_keras import models

    folder = _folder(name)
    record = _read(folder / CONFIG)
    if record.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{folder / CONFIG}: format_version must be {FORMAT_VERSION}, received {record.get('format_version')!r}"
        )
    if record.get("class") not in models.__all__ or record["class"] == "Supernet":
        raise ValueError(
            f"{folder / CONFIG}: class must be a model of ds_keras.models, received {record.get('class')!r}"
        )
    for file, expected in record["sha256"].items():
        _check_hash(folder / Path(file).name, expected)
    try:
        model = getattr(models, record["class"]).from_config(record["config"])
    except TypeError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    model.build()
    model.load_weights(folder / WEIGHTS)
    return model if num_classes in (None, model.num_classes) else _with_classes(model, num_classes)


def save(
    model: "Supernet", directory: str | os.PathLike, metrics: dict[str, Any] | None = None, card: str | None = None
) -> Path:
    """Writes a preset that ``load`` reads: config, weights, and the metrics and card that are given.

    Args:
        model: supernet.
        directory: created if needed; its other files stay.
        metrics: measured figures (see ``card``).
        card: text of the model card.

    Returns:
        The directory.
    """
    directory = Path(directory)
    model.build()
    with replacing(directory / WEIGHTS) as temporary:
        model.save_weights(temporary)
    record = {
        "format_version": FORMAT_VERSION,
        "class": type(model).__name__,
        "config": model.get_config(),
        "sha256": {WEIGHTS: sha256(directory / WEIGHTS)},
    }
    write_json(directory / CONFIG, record)
    if metrics is not None:
        write_json(directory / METRICS, metrics)
    if card is not None:
        write_bytes(directory / CARD, card.encode())
    return directory


def list_models() -> list[str]:
    """Names of the shipped presets, without aliases."""
    root = presets()
    return sorted(path.parent.name for path in root.glob(f"*/{CONFIG}")) if root.is_dir() else []


def card(name: str | os.PathLike) -> dict[str, Any]:
    """What is known about a preset: the content of its ``metrics.json``, its folder and its hashes.

    Args:
        name: preset, alias, or a directory that holds one.

    Returns:
        Metrics of every level, data and its terms, licence of the weights, sha256.

    Raises:
        ValueError: unknown preset, or unreadable JSON.
    """
    folder = _folder(name)
    metrics = _read(folder / METRICS) if (folder / METRICS).exists() else {}
    return {"name": folder.name, **metrics, "sha256": _read(folder / CONFIG)["sha256"], "folder": str(folder)}


def presets() -> Path:
    """The folder of the presets: inside the installed package, or the checkout's ``zoo/`` (editable install)."""
    packaged = Path(__file__).parent / "presets"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "zoo"


def _folder(name: str | os.PathLike) -> Path:
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise ValueError(f"name must be a preset or a directory, received {name!r}")
    shipped = list_models()
    chosen = ALIASES.get(str(name), str(name))
    if chosen in shipped:
        return presets() / chosen
    if (Path(name) / CONFIG).is_file():
        return Path(name)
    near = difflib.get_close_matches(str(name), [*shipped, *ALIASES], n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(
        f"unknown preset {str(name)!r}: {hint}shipped are {', '.join(shipped)} "
        f"(aliases: {', '.join(ALIASES)}), or give a directory with a {CONFIG}"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, received {type(value).__name__}")
    return value


def _check_hash(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    found = sha256(path)
    if found != expected:
        raise ValueError(f"{path} is damaged or not the published file: sha256 {found}, expected {expected}")


def _with_classes(model: "Supernet", num_classes: int) -> "Supernet":
    """The same network with a new classifier; what was measured on the old classes is dropped."""
    config = {**model.get_config(), "num_classes": num_classes, "labels": None, "budget_table": {}}
    twin = type(model).from_config(config)
    twin.build()
    for new, old in zip(twin.weights, model.weights, strict=True):
        if new.shape == old.shape and "classifier" not in old.path:
            new.assign(old)
    return twin
