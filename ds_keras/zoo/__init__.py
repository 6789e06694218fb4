"""The zoo: presets as plain data. A preset is a folder with JSON, weights and their hash; nothing in it is run."""

import contextlib
import difflib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.core.files import (
    expanded,
    read_limited,
    replacing,
    sha256,
    shown,
    sweep,
    write_bytes,
    write_json,
)
from ds_keras.zoo.classes import with_classes
from ds_keras.zoo.records import (
    CONFIG,
    FORMAT_VERSION,
    NEXT,
    WEIGHTS,
    build,
    check_hashes,
    read,
    read_metrics,
    read_record,
    weights_file,
)
from ds_keras.zoo.sizes import at_size

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

__all__ = ["bundle", "card", "kind", "list_models", "load", "presets", "save"]

ALIASES = {
    "ds_mobilenet": "ds_mobilenet_imagenette",
    "ds_resnet": "ds_resnet_imagenette",
    "ds_vit": "ds_vit_cifar10",
}
TASKS = {"DSDetector": "detection"}  # of networks that do not classify
METRICS, CARD = "metrics.json", "README.md"
BUNDLE, INT8_BUNDLE, PLOT = "model.dsbundle", "model_int8.dsbundle", "policies.png"
DYNAMIC = "dynamic.tflite"  # of a network without levels
MAX_TEXT = 16 << 20  # bytes of a card
MORE_LAYERS = 100  # that a network may have without weights, besides as many as it has arrays of them


def load(name: str | os.PathLike, num_classes: int | None = None, image_size: Any = None) -> "ImageModel":
    """Loads a trained network.

    Args:
        name: preset, alias, or a directory that holds one.
        num_classes: gives the model a new, untrained classifier of this size, for fine-tuning, even if the preset has
            as many classes; labels, budget table, thresholds and default policy are those of a new network.
        image_size: pixels, an int or (height, width), for a network of convolutions: another size than the one that the
            preset was measured at; a warning says so. The budget table, which counts that one's cost, is dropped.

    Returns:
        A supernet, or an ``LCResNet``, built.

    Raises:
        ValueError: unknown preset, a damaged or unreadable one (the error says which file, and both hashes), or a size
            that the network cannot have.

    Example:
        >>> model = ds_keras.zoo.load("ds_mobilenet")
        >>> logits = model(images)
    """
    from ds_keras import models
    from ds_keras.core.backend import at_most, float32_variables
    from ds_keras.zoo import weights

    folder = folder_of(name)
    record = read_record(folder)
    files = {name: folder / name for name in record["sha256"]} | {WEIGHTS: weights_file(folder, record)}
    check_hashes(files, record["sha256"])
    if str(record.get("class")) in TASKS:
        raise ValueError(f"{folder / CONFIG} is of a detector: ds_keras.detection.load({str(name)!r}) reads it")
    if record.get("class") not in models.NETWORKS:
        raise ValueError(
            f"{folder / CONFIG}: class must be a model of ds_keras.models, received {shown(repr(record.get('class')))}"
        )
    size = weights.measure(files[WEIGHTS])
    with float32_variables(), at_most(layers=2 * size.arrays + MORE_LAYERS, weights=size.values, source=WEIGHTS):
        model = build(getattr(models, record["class"]), record["config"], folder / CONFIG)
    weights.load(model, files[WEIGHTS])
    model = model if num_classes is None else with_classes(model, num_classes)
    return model if image_size is None else at_size(model, image_size)


def save(
    model: "ImageModel", directory: str | os.PathLike, metrics: dict[str, Any] | None = None, card: str | None = None
) -> Path:
    """Writes a preset that ``load`` reads: config, weights, and the metrics and card that are given.

    Over an existing preset ``load`` gives the old one until the config is moved into place, and then the new one.

    Args:
        model: supernet, or ``LCResNet``.
        directory: created if needed; its other files stay.
        metrics: measured figures (see ``card``).
        card: text of the model card.

    Returns:
        The directory.
    """
    directory = expanded(directory)
    model.build()
    config = {name: value for name, value in model.get_config().items() if name != "dtype"}  # float32, as the weights
    json.dumps([config, metrics])  # what cannot be written is refused before anything is
    with contextlib.suppress(ValueError, OSError):  # there is a preset: its last save may not have been finished
        os.replace(weights_file(directory, read_record(directory)), directory / WEIGHTS)
    sweep(directory)  # what killed saves left
    with replacing(directory / NEXT) as temporary:
        model.save_weights(temporary)
    record = {
        "format_version": FORMAT_VERSION,
        "class": type(model).__name__,
        "config": config,
        "sha256": {WEIGHTS: sha256(directory / NEXT)},
    }
    write_json(directory / CONFIG, record)
    os.replace(directory / NEXT, directory / WEIGHTS)
    if metrics is not None:
        write_json(directory / METRICS, metrics)
    if card is not None:
        write_bytes(directory / CARD, card.encode())
    return directory


def list_models(task: str = "classification") -> list[str]:
    """Names of the shipped presets, without aliases.

    Args:
        task: "classification", or "detection": those that ``ds_keras.detection.load`` takes.

    Raises:
        ValueError: another task.
    """
    tasks = ("classification", *TASKS.values())
    if task not in tasks:
        raise ValueError(f"task must be one of {tasks}, received {task!r}")
    root = presets()
    names = sorted(path.parent.name for path in root.glob(f"*/{CONFIG}")) if root.is_dir() else []
    return [name for name in names if _task(root / name) == task]


def _task(folder: Path) -> str:
    """What the network of a preset is for; of one that cannot be read, what most are for."""
    with contextlib.suppress(OSError, ValueError):
        return TASKS.get(str(read(folder / CONFIG).get("class")), "classification")
    return "classification"


class Card(dict[str, Any]):
    """What is known about a preset. ``print`` shows the text of its README.md, or the entries where there is none."""

    def __str__(self) -> str:
        path = Path(self["folder"]) / CARD
        if path.is_file():
            return read_limited(path, MAX_TEXT).decode(errors="replace")
        return "\n".join(f"{name}: {value}" for name, value in self.items())


def card(name: str | os.PathLike) -> Card:
    """What is known about a preset: the content of its ``metrics.json``, its folder and its hashes.

    Args:
        name: preset, alias, or a directory that holds one.

    Returns:
        Metrics of every level, data and its terms, licence of the weights, sha256: a dict that prints as the card.

    Raises:
        ValueError: unknown preset, or unreadable JSON.

    Example:
        >>> print(ds_keras.zoo.card("ds_mobilenet"))
    """
    folder = folder_of(name)
    found = metrics(folder) if os.path.lexists(folder / METRICS) else {}
    return Card({"name": folder.name, **found, "sha256": read_record(folder)["sha256"], "folder": str(folder)})


def metrics(directory: str | os.PathLike, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The content of a preset's ``metrics.json``.

    Args:
        directory: of the preset.
        needed: entries that must be there.

    Returns:
        The figures.

    Raises:
        ValueError: no such file, unreadable JSON, or entries that no run writes.
    """
    return read_metrics(expanded(directory) / METRICS, needed)


def bundle(name: str | os.PathLike, int8: bool = False) -> Path:
    """A bundle of a preset, for ``ds_keras.runtime.Session`` and for a phone.

    Args:
        name: preset, alias, or a directory that holds one.
        int8: the smaller one, of int8 kernels; transformers compute on float activations (``card(name)["int8"]`` has
            its figures). Default: half precision, which gives the model's own figures.

    Returns:
        Path of the file.

    Raises:
        ValueError: unknown preset, or one without a bundle.

    Example:
        >>> session = ds_keras.runtime.Session(ds_keras.zoo.bundle("ds_mobilenet"))
    """
    path = folder_of(name) / (INT8_BUNDLE if int8 else BUNDLE)
    if path.is_file():
        return path
    record = read_record(path.parent)
    if "default_policy" not in record["config"]:  # which every network with levels has
        file = path.with_name(DYNAMIC)
        how = "run" if file.is_file() else f"ds_keras.export.to_tflite(model, {str(path.parent)!r}) writes"
        raise ValueError(
            f"{path} is missing, because an {record.get('class')} has no levels and needs no bundle: {how} {file}"
        )
    raise ValueError(f"{path} is missing: make it with ds_keras.export.to_bundle(model, {str(path)!r})")


def kind(name: str | os.PathLike) -> str:
    """The class of a preset's network, without loading it.

    Args:
        name: preset, alias, or a directory that holds one.

    Returns:
        Name of a class of ``ds_keras.models``.

    Raises:
        ValueError: unknown preset, or an unreadable one.
    """
    return str(read_record(folder_of(name)).get("class"))


def presets() -> Path:
    """The folder of the presets: inside the installed package, or the checkout's ``zoo/`` (editable install)."""
    packaged = Path(__file__).parent / "presets"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "zoo"


def __dir__() -> list[str]:
    return sorted(__all__)


def folder_of(name: str | os.PathLike) -> Path:
    """The folder of a preset, an alias, or a directory that holds one."""
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise ValueError(f"name must be a preset or a directory, received {name!r}")
    shipped = sorted([*list_models(), *list_models("detection")])
    chosen = ALIASES.get(name, name) if isinstance(name, str) else None  # a ``Path`` is always a directory
    if chosen in shipped:
        return presets() / chosen
    folder = expanded(name)
    if os.path.isfile(folder / CONFIG):  # False for what no file system takes as a name
        return folder
    near = difflib.get_close_matches(str(name)[:100], [*shipped, *ALIASES], n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(
        f"unknown preset '{shown(name)}': {hint}shipped are {', '.join(shipped)} "
        f"(aliases: {', '.join(ALIASES)}), or give a directory with a {CONFIG}"
    )
