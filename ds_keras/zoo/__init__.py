"""The zoo: presets as plain data. A preset is a folder with JSON, weights and their hash; nothing in it is run."""

import contextlib
import difflib
import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.core.files import replacing, sha256, write_bytes, write_json
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
    from ds_keras.core.backend import float32_variables

    folder = _folder(name)
    record = _record(folder)
    files = {name: folder / name for name in record["sha256"]} | {WEIGHTS: _weights(folder, record)}
    for name, path in files.items():
        _check_hash(path, record["sha256"][name])
    if record.get("class") not in models.__all__ or record["class"] == "Supernet":
        raise ValueError(
            f"{folder / CONFIG}: class must be a model of ds_keras.models, received {record.get('class')!r}"
        )
    with float32_variables():
        model = _build(getattr(models, record["class"]), record["config"], folder / CONFIG)
    try:
        model.load_weights(files[WEIGHTS])
    except Exception as error:  # what h5py and Keras raise for a file of another network has no common type
        raise ValueError(f"{files[WEIGHTS]} does not hold the weights of this network: {error}") from error
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
    directory = Path(directory).expanduser()
    model.build()
    config = {name: value for name, value in model.get_config().items() if name != "dtype"}  # float32, as the weights
    json.dumps([config, metrics])  # what cannot be written is refused before anything is
    with contextlib.suppress(ValueError, OSError):  # there is a preset: its last save may not have been finished
        os.replace(_weights(directory, _record(directory)), directory / WEIGHTS)
    with replacing(directory / NEXT) as weights:
        model.save_weights(weights)
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
            return path.read_text(encoding="utf-8")
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
    found = metrics(folder) if (folder / METRICS).exists() else {}
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
    return _read(Path(directory).expanduser() / METRICS)


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
    folder = Path(name).expanduser()
    if (folder / CONFIG).is_file():
        return folder
    near = difflib.get_close_matches(str(name), [*shipped, *ALIASES], n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(
        f"unknown preset {str(name)!r}: {hint}shipped are {', '.join(shipped)} "
        f"(aliases: {', '.join(ALIASES)}), or give a directory with a {CONFIG}"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, received {type(value).__name__}")
    return value


def _is_hash(name: str, value: Any) -> bool:
    return isinstance(value, str) and Path(name).name == name


def _record(folder: Path) -> dict[str, Any]:
    """The checked content of a preset's config file."""
    path = folder / CONFIG
    record = _read(path)
    if record.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path}: format_version must be {FORMAT_VERSION}, received {record.get('format_version')!r}")
    hashes = record.get("sha256")
    if not isinstance(hashes, dict) or WEIGHTS not in hashes or not all(map(_is_hash, hashes, hashes.values())):
        raise ValueError(f"{path}: sha256 must map file names, {WEIGHTS!r} among them, to hashes, received {hashes!r}")
    if not isinstance(record.get("config"), dict):
        raise ValueError(f"{path}: config must be a JSON object, received {record.get('config')!r}")
    return record


def _weights(folder: Path, record: dict[str, Any]) -> Path:
    """The file that a config's hash means: the next weights where a save was killed before its last step."""
    following = folder / NEXT
    return following if following.is_file() and sha256(following) == record["sha256"][WEIGHTS] else folder / WEIGHTS


def _build(model_class: Any, config: dict[str, Any], path: Path) -> "ImageModel":
    """The network that a config describes. Its entries are checked first: Keras would import what some of them name."""
    expected = set()
    for base in model_class.__mro__:
        if base.__module__.startswith("ds_keras.") and "__init__" in vars(base):
            expected |= set(inspect.signature(base).parameters)
    expected -= {"kwargs", "levels", "teacher_level"}
    if set(config) | {"preprocessing"} != expected or not isinstance(config["name"], str):
        missing, unknown = sorted(expected - set(config) - {"preprocessing"}), sorted(set(config) - expected)
        raise ValueError(f"{path}: config must have a name, lacks {missing} and has the unknown entries {unknown}")
    try:
        model = model_class.from_config(config)
        model.build()
    except Exception as error:  # a damaged value can fail anywhere
        raise ValueError(f"{path}: the config does not describe a {model_class.__name__}: {error}") from error
    return model


def _check_hash(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing")
    found = sha256(path)
    if found != expected:
        raise ValueError(f"{path} is damaged or not the published file: sha256 {found}, expected {expected}")
