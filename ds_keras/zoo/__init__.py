"""The zoo: presets as plain data. A preset is a folder with JSON, weights and their hash; nothing in it is run."""

import contextlib
import difflib
import inspect
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.core.files import (
    check_regular,
    expanded,
    read_json,
    read_limited,
    replacing,
    sha256,
    shown,
    sweep,
    write_bytes,
    write_json,
)
from ds_keras.zoo.classes import with_classes
from ds_keras.zoo.sizes import at_size

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

__all__ = ["bundle", "card", "kind", "list_models", "load", "presets", "save"]

FORMAT_VERSION = 1
ALIASES = {
    "ds_mobilenet": "ds_mobilenet_imagenette",
    "ds_resnet": "ds_resnet_cifar10",
    "ds_vit": "ds_vit_cifar10",
}
CONFIG, WEIGHTS, METRICS, CARD = "config.json", "model.weights.h5", "metrics.json", "README.md"
NEXT = "next.weights.h5"  # of a save that is under way
BUNDLE, INT8_BUNDLE, PLOT = "model.dsbundle", "model_int8.dsbundle", "policies.png"
DYNAMIC = "dynamic.tflite"  # of a network without levels
MAX_FILES, MAX_BYTES = 100, 1 << 30  # of those that a config hashes, and of all of them together
MAX_TEXT = 16 << 20  # bytes of a card
MAX_LEVELS, MAX_PIXELS = 1000, 1 << 26  # of a config: entries of a list in a table, numbers in an image
MORE_LAYERS = 100  # that a network may have without weights, besides as many as it has arrays of them


def load(name: str | os.PathLike, num_classes: int | None = None, image_size: Any = None) -> "ImageModel":
    """Loads a trained network.

    Args:
        name: preset, alias, or a directory that holds one.
        num_classes: gives the model a new, untrained classifier of this size, for fine-tuning, even if the preset has
            as many classes; labels, budget table, thresholds and default policy are those of a new network.
        image_size: pixels, an int or (height, width), for a network of convolutions: another size than the one that the
            preset was measured at, which is logged. The budget table, which counts that one's cost, is dropped.

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

    folder = _folder(name)
    record = _record(folder)
    files = {name: folder / name for name in record["sha256"]} | {WEIGHTS: _weights(folder, record)}
    _check_hashes(files, record["sha256"])
    if record.get("class") not in models.__all__ or record["class"] == "Supernet":
        raise ValueError(
            f"{folder / CONFIG}: class must be a model of ds_keras.models, received {shown(repr(record.get('class')))}"
        )
    size = weights.measure(files[WEIGHTS])
    with float32_variables(), at_most(layers=2 * size.arrays + MORE_LAYERS, weights=size.values, source=WEIGHTS):
        model = _build(getattr(models, record["class"]), record["config"], folder / CONFIG)
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
        os.replace(_weights(directory, _record(directory)), directory / WEIGHTS)
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


def list_models() -> list[str]:
    """Names of the shipped presets, without aliases."""
    root = presets()
    return sorted(path.parent.name for path in root.glob(f"*/{CONFIG}")) if root.is_dir() else []


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
    folder = _folder(name)
    found = metrics(folder) if os.path.lexists(folder / METRICS) else {}
    return Card({"name": folder.name, **found, "sha256": _record(folder)["sha256"], "folder": str(folder)})


def metrics(directory: str | os.PathLike) -> dict[str, Any]:
    """The content of a preset's ``metrics.json``.

    Args:
        directory: of the preset.

    Returns:
        The figures.

    Raises:
        ValueError: no such file, or unreadable JSON.
    """
    return _read(expanded(directory) / METRICS)


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
    path = _folder(name) / (INT8_BUNDLE if int8 else BUNDLE)
    if path.is_file():
        return path
    record = _record(path.parent)
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
    return str(_record(_folder(name)).get("class"))


def presets() -> Path:
    """The folder of the presets: inside the installed package, or the checkout's ``zoo/`` (editable install)."""
    packaged = Path(__file__).parent / "presets"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "zoo"


def __dir__() -> list[str]:
    return sorted(__all__)


def _folder(name: str | os.PathLike) -> Path:
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise ValueError(f"name must be a preset or a directory, received {name!r}")
    shipped = list_models()
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


def _read(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, received {type(value).__name__}")
    return value


def _is_hash(name: str, value: Any) -> bool:
    plain = name.isprintable() and 0 < len(name) <= 100 and name != ".." and Path(name).name == name
    return isinstance(value, str) and plain


def _record(folder: Path) -> dict[str, Any]:
    """The checked content of a preset's config file."""
    path = folder / CONFIG
    record = _read(path)
    if record.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format_version must be {FORMAT_VERSION}, received {shown(repr(record.get('format_version')))}"
        )
    hashes: Any = record.get("sha256")
    plain = isinstance(hashes, dict) and len(hashes) <= MAX_FILES and WEIGHTS in hashes
    if not plain or not all(map(_is_hash, hashes, hashes.values())):
        raise ValueError(
            f"{path}: sha256 must map at most {MAX_FILES} file names, {WEIGHTS!r} among them, to hashes, received "
            f"{shown(hashes)}"
        )
    if not isinstance(record.get("config"), dict):
        raise ValueError(f"{path}: config must be a JSON object, received {shown(repr(record.get('config')))}")
    return record


def _weights(folder: Path, record: dict[str, Any]) -> Path:
    """The file that a config's hash means: the next weights where a save was killed before its last step."""
    following = folder / NEXT
    with contextlib.suppress(OSError, ValueError):  # there is none, or none that a save wrote
        check_regular(following, MAX_BYTES)
        if sha256(following) == record["sha256"][WEIGHTS]:
            return following
    return folder / WEIGHTS


def _build(model_class: Any, config: dict[str, Any], path: Path) -> "ImageModel":
    """The network that a config describes. Its entries are checked first: Keras would import what some of them name."""
    expected = set()
    for base in model_class.__mro__:
        if base.__module__.startswith("ds_keras.") and "__init__" in vars(base):
            expected |= set(inspect.signature(base).parameters)
    expected -= {"kwargs", "levels", "teacher_level"}
    if set(config) | {"preprocessing"} != expected or not isinstance(config["name"], str):
        missing, unknown = sorted(expected - set(config) - {"preprocessing"}), sorted(set(config) - expected)
        raise ValueError(
            f"{path}: config must have a name, lacks {missing} and has the unknown entries {shown(unknown)}"
        )
    try:
        _check_bounds(config)
        model = model_class.from_config(config)
        model.build()
    except Exception as error:  # a damaged value can fail anywhere
        raise ValueError(
            f"{path}: the config does not describe a {model_class.__name__}: {shown(error, 500)}"
        ) from error
    return model


def _check_bounds(config: dict[str, Any]) -> None:
    """Refuses tables and images that would take long, or much memory, whatever the weights are."""
    shape = config["input_shape"]
    plain = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
    if not plain or math.prod(shape) > MAX_PIXELS:
        raise ValueError(f"input_shape must be (height, width, channels) of at most {MAX_PIXELS} numbers in all")
    if not config["name"].isprintable() or len(config["name"]) > 100:
        raise ValueError(f"name must be at most 100 printable characters, received '{shown(config['name'])}'")
    tables = [value for name, value in config.items() if name not in ("labels", "budget_table")]
    while tables:
        value = tables.pop()
        if isinstance(value, list) and len(value) > MAX_LEVELS:
            raise ValueError(f"a list of {len(value)} entries, at most {MAX_LEVELS} are allowed")
        tables += value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()


def _check_hashes(files: dict[str, Path], hashes: dict[str, str]) -> None:
    left = MAX_BYTES
    for name, path in files.items():
        if not os.path.isfile(path):
            raise ValueError(f"{path} is {'no regular file' if os.path.lexists(path) else 'missing'}")
        try:
            check_regular(path, left)
            left, found = left - path.stat().st_size, sha256(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot read {path}: {error}") from None
        if found != hashes[name]:
            raise ValueError(
                f"{path} is damaged or not the published file: sha256 {found}, expected {shown(hashes[name])}"
            )
