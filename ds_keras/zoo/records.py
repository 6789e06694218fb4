"""What a preset's ``config.json`` may say: read, bounded and checked before a network is made of it."""

import contextlib
import inspect
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.core.files import check_regular, read_json, sha256, shown

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

FORMAT_VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
NEXT = "next.weights.h5"  # of a save that is under way
MAX_FILES, MAX_BYTES = 100, 1 << 30  # of those that a config hashes, and of all of them together
ENTRIES: dict[type, tuple[str, ...]] = {  # of metrics.json that are read, where they are there
    str: ("command", "data", "experiment", "licence"),
    list: ("comparisons", "levels", "notes", "policies", "temperatures"),
    dict: ("seconds",),
    int: ("test_reads",),
}
MAX_LEVELS, MAX_PIXELS = 1000, 1 << 26  # of a config: entries of a list in a table, numbers in an image


def read(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, received {type(value).__name__}")
    return value


def read_metrics(path: Path, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The content of a preset's ``metrics.json``; what the package reads of it has the types that a run writes.

    Args:
        path: of the file.
        needed: entries that must be there.

    Raises:
        ValueError: it cannot be read, an entry is missing, or of another type. The message names the file.
    """
    found = read(path)
    for kind, names in ENTRIES.items():
        for name in names:
            value = found.get(name)
            parts = (int, float) if name == "temperatures" else dict
            fits = isinstance(value, kind) and (
                not isinstance(value, list) or all(isinstance(each, parts) for each in value)
            )
            if value is not None and not fits:
                raise ValueError(f"{path} must hold what a run writes, but {name} is {shown(repr(value))}")
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{path} must hold what a run writes, but lacks {', '.join(missing)}")
    return found


def _is_hash(name: str, value: Any) -> bool:
    plain = name.isprintable() and 0 < len(name) <= 100 and name != ".." and Path(name).name == name
    return isinstance(value, str) and plain


def read_record(folder: Path) -> dict[str, Any]:
    """The checked content of a preset's config file."""
    path = folder / CONFIG
    record = read(path)
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


def weights_file(folder: Path, record: dict[str, Any]) -> Path:
    """The file that a config's hash means: the next weights where a save was killed before its last step."""
    following = folder / NEXT
    with contextlib.suppress(OSError, ValueError):  # there is none, or none that a save wrote
        check_regular(following, MAX_BYTES)
        if sha256(following) == record["sha256"][WEIGHTS]:
            return following
    return folder / WEIGHTS


def build(model_class: Any, config: dict[str, Any], path: Path, weights: bool = True) -> "ImageModel":
    """The network that a config describes. Its entries are checked first: Keras would import what some of them name.

    Without ``weights`` its layers are made, but not built: what it is a part of decides which it needs.
    """
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
        if weights:
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


def check_hashes(files: dict[str, Path], hashes: dict[str, str]) -> None:
    """Refuses files that are missing, too large in all, or not those that the hashes mean."""
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
