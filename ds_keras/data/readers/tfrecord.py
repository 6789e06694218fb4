"""TFRecord shards with an index of offsets: image sets of any size with random access, so that resume stays exact.

A directory holds ``images-00000-of-00008.tfrecord`` and so on, each record a ``tf.train.Example`` with
``image/encoded`` and ``image/class/label``; ``index.npz`` with shard, offset, length, checksum and label of every
record; ``index.json`` with the rest, the SHA-256 of each shard among it. The index is written last: a directory
without one was not finished.
"""

import json
import os
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tensorflow as tf
from PIL import Image

from ds_keras.core.files import check_regular, read_json, replacing, sha256, shown
from ds_keras.data.decode import decode
from ds_keras.data.readers.npz import check_labels, column, read_npz
from ds_keras.data.readers.records import COLUMNS, RecordStorage
from ds_keras.data.readers.storage import Storage
from ds_keras.data.source import Source

FORMAT_VERSION = 1
_HEADER, _FOOTER = 12, 4  # bytes: length and its CRC before the data, CRC of the data after it
MAX_INDEX = 2**26  # bytes of index.json
MAX_SHARD = 2**50  # bytes
MAX_RECORD = 2**29  # bytes of a record
_ABOUT = {
    "count": (lambda value: type(value) is int and value > 0, "a positive integer"),
    "name": (lambda value: isinstance(value, str), "a string"),
    "class_names": (lambda value: _strings(value), "a list of strings"),
    "shards": (
        lambda value: _strings(value) and all(Path(name).name == name for name in value),
        "a list of names of files in the directory",
    ),
    "image_shape": (
        lambda value: (
            isinstance(value, list)
            and len(value) == 3
            and value[2] in (1, 3)
            and all(size is None or (type(size) is int and size > 0) for size in value)
        ),
        "[height, width, 1 or 3]",
    ),
}


def write_tfrecords(
    source: Source,
    directory: str | os.PathLike,
    shards: int = 8,
    resume: bool = False,
    progress: Callable[[int, int], Any] | None = None,
) -> Path:
    """Writes a source as TFRecord shards. Every file appears whole or not at all.

    Files keep their bytes; images that are not encoded are stored as PNG. To mix classes in each shard, write
    ``source.subset(permutation)``; training does not need it.

    Args:
        source: the images.
        directory: made if needed; must hold no index yet.
        shards: number of files.
        resume: whether to keep a note beside each finished shard until the index is there, and to pass over the shards
            for which an earlier call with the same source left one.
        progress: f(shards that are finished, all shards), called after each.

    Returns:
        The directory.

    Raises:
        FileExistsError: the directory holds an index.
        ValueError: bad ``shards``, or an image that cannot be decoded.

    Example:
        >>> write_tfrecords(image_folder("imagenet/train"), "imagenet-tfrecord/train", shards=128)
    """
    if isinstance(shards, bool) or not isinstance(shards, int) or not 1 <= shards <= len(source):
        raise ValueError(f"shards must be an integer in [1, {len(source)}], the number of images, received {shards!r}")
    directory = Path(directory)
    if (directory / "index.json").exists():
        raise FileExistsError(f"{directory} holds an index already; choose another directory or remove it")
    directory.mkdir(parents=True, exist_ok=True)
    bounds = np.linspace(0, len(source), shards + 1).astype(int)
    names = [f"images-{k:05d}-of-{shards:05d}.tfrecord" for k in range(shards)]
    notes = [directory / f"{name}.done.npz" for name in names]
    parts: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        labels = source.labels[bounds[k] : bounds[k + 1]]
        known = _noted(notes[k], directory / name, labels) if resume else None
        if known is None:
            rows: list[tuple] = []

            def write(file: BinaryIO, k: int = k, rows: list[tuple] = rows) -> None:
                rows.extend(_write_shard(file, source, k, *bounds[k : k + 2]))

            _write_whole(directory / name, write)
            known = {
                key: np.array(values, COLUMNS[key])
                for key, values in zip(COLUMNS, zip(*rows, strict=True), strict=True)
            }
            known["sha256"] = np.array([sha256(directory / name)])
            if resume:
                _write_whole(notes[k], partial(np.savez, **known))
        parts.append(known)
        if progress is not None:
            progress(k + 1, shards)
    columns: dict[str, Any] = {key: np.concatenate([part[key] for part in parts]) for key in COLUMNS}
    _write_whole(directory / "index.npz", partial(np.savez, **columns))
    about = {
        "format_version": FORMAT_VERSION,
        "name": source.name,
        "count": len(source),
        "class_names": source.class_names,
        "image_shape": list(source.image_shape),
        "shards": names,
        "sha256": [str(part["sha256"][0]) for part in parts],
    }
    _write_whole(directory / "index.json", lambda file: file.write(json.dumps(about, indent=1).encode()))
    for note in notes:
        note.unlink(missing_ok=True)
    return directory


def read_tfrecords(directory: str | os.PathLike) -> Source:
    """Opens shards that ``write_tfrecords`` wrote. Records are read and checked when they are used.

    Args:
        directory: of the shards and the index.

    Returns:
        The source.

    Raises:
        FileNotFoundError: no index (the directory is another one, or was not finished), or a shard is missing.
        ValueError: a shard is torn, or the index is damaged or of a later format.

    Example:
        >>> train = read_tfrecords("imagenet-tfrecord/train")
    """
    directory = Path(directory)
    for file in ("index.json", "index.npz"):
        if not (directory / file).is_file():
            raise FileNotFoundError(f"{directory / file} is missing: no TFRecord set, or one that was not finished")
    about = _about(directory / "index.json")
    names, classes, count = about["shards"], about["class_names"], about["count"]
    try:
        columns = read_npz(directory / "index.npz")
    except ValueError as error:
        kind = type(error.__cause__).__name__
        raise ValueError(f"the index of {directory} is damaged: {kind}: {error}") from error
    _check_columns(columns, count, len(names), len(classes), directory / "index.npz")
    sizes = np.zeros(len(names), np.int64)
    np.maximum.at(sizes, columns["shard"], columns["offset"] + columns["length"] + _FOOTER)
    for shard, size in zip(names, sizes.tolist(), strict=True):
        path = directory / shard
        if not os.path.isfile(path):
            raise FileNotFoundError(f"the shard {shown(path)} is missing")
        if path.stat().st_size != size:
            raise ValueError(f"the shard {path} is torn: {path.stat().st_size} bytes, the index says {size}")
    paths = [str(directory / shard) for shard in names]
    shape = tuple(about["image_shape"])
    return Source(RecordStorage(paths, columns, shape), columns["label"], classes, about["name"])


def verify_tfrecords(directory: str | os.PathLike, progress: Callable[[int, int], Any] | None = None) -> None:
    """Reads every shard and compares its SHA-256 with the index.

    Args:
        directory: of ``write_tfrecords``.
        progress: f(shards that are checked, all shards), called after each.

    Raises:
        FileNotFoundError: see ``read_tfrecords``.
        ValueError: a shard is another file than the one that was written, or the index has no checksums.

    Example:
        >>> verify_tfrecords("imagenet-tfrecord/train")
    """
    directory = Path(directory)
    about = _about(directory / "index.json")
    names, hashes = about["shards"], about.get("sha256")
    if not isinstance(hashes, list) or len(hashes) != len(names):
        raise ValueError(f"{directory / 'index.json'} holds no SHA-256 of each shard; write the set anew for them")
    for k, (name, expected) in enumerate(zip(names, hashes, strict=True)):
        try:
            check_regular(directory / name, MAX_SHARD)
        except (OSError, ValueError) as error:
            raise ValueError(f"the shard {shown(directory / name)}: {shown(error)}") from None
        if sha256(directory / name) != expected:
            raise ValueError(
                f"the shard {directory / name} has another SHA-256 than when it was written: it is damaged"
            )
        if progress is not None:
            progress(k + 1, len(names))


def _noted(note: Path, shard: Path, labels: np.ndarray) -> dict[str, Any] | None:
    """The rows of a shard that an earlier call finished; None where it did not, or not with these images."""
    try:
        known = read_npz(note)
        size = int(known["offset"][-1] + known["length"][-1]) + _FOOTER
        same = shard.stat().st_size == size and np.array_equal(known["label"], labels)
    except (IndexError, KeyError, OSError, ValueError):
        return None
    return known if same else None


def _about(path: Path) -> dict[str, Any]:
    """The checked content of index.json."""
    try:
        about = read_json(path, MAX_INDEX)
        version = about["format_version"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"the index of {path.parent} is damaged: {path.name}: {type(error).__name__}: {error}"
        ) from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{path.parent} has format_version {version!r}, this version reads {FORMAT_VERSION}")
    for key, (fits, words) in _ABOUT.items():
        if key not in about or not fits(about[key]):
            raise ValueError(
                f"the index of {path.parent} is damaged: {path.name}: {key} must be {words}, is {about.get(key)!r:.99}"
            )
    return about


def _check_columns(columns: dict[str, np.ndarray], count: int, shards: int, classes: int, path: Path) -> None:
    """Refuses columns of index.npz that cannot be: before anything is sought by them."""
    missing = sorted(set(COLUMNS) - set(columns))
    if missing or any(columns[key].shape != (count,) for key in COLUMNS):
        what = f"lacks {missing}" if missing else f"does not hold {count} images"
        raise ValueError(f"the index of {path.parent} is damaged: index.npz {what}")
    for key in COLUMNS:
        column(columns, key, "b" if key == "plain" else "iu", path)
    shard, offset, length = (columns[key] for key in ("shard", "offset", "length"))
    bad = (shard < 0) | (shard >= shards) | (offset < _HEADER) | (offset > 2**62) | (length < 1) | (length > MAX_RECORD)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        place = f"shard {shard[first]} at byte {offset[first]} with {length[first]} bytes"
        raise ValueError(f"{path}: record {first} cannot lie in {place}")
    check_labels(columns["label"], classes, path, "label")


def _strings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _write_shard(file: BinaryIO, source: Source, shard: int, start: int, stop: int) -> list[tuple]:
    rows, offset = [], _HEADER
    with tf.io.TFRecordWriter(file.name) as writer:
        for i in range(start, stop):
            data = _encode(source.storage, int(source.indices[i]))
            plain = decode(data, source.image_shape[2]).plain
            record = _example(data, int(source.labels[i])).SerializeToString()
            writer.write(record)
            rows.append((shard, offset, len(record), zlib.crc32(record), source.labels[i], plain))
            offset += len(record) + _FOOTER + _HEADER
    return rows


def _example(data: bytes, label: int) -> Any:
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
                "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            }
        )
    )


def _encode(storage: Storage, index: int) -> bytes:
    data = storage.encoded(index)
    if data is None:
        image = storage.read(index)
        file = BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "PNG")
        data = file.getvalue()
    return data


def _write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Writes a whole file, or none."""
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            write(file)
    except tf.errors.OpError as error:  # of a full disk, for one
        raise OSError(f"cannot write {path}: {error.message}") from error
