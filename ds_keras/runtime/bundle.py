"""Reads a bundle: every number is checked before it is used, every part against its hash. numpy alone."""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from ds_keras.core.files import expanded, parse_json, shown
from ds_keras.runtime.manifest import FORMAT, INDEX, TASK_VERSION, check_manifest, file_names
from ds_keras.runtime.materialize import Template, materialize
from ds_keras.runtime.template import bounded, lent, separate_template, shared_template

MAX_INDEX = 16 << 20  # bytes of bundle.json


class Bundle:
    """A bundle on disk: a directory, or the single-file form.

    Args:
        path: what ``ds_keras.export.to_bundle`` wrote.

    Raises:
        ValueError: not a bundle, or a damaged one; the message names the part. Parts are read, and compared with their
            hashes, when they are needed.

    Example:
        >>> bundle = Bundle("ds_mobilenet.dsbundle")
        >>> Path("level_0.tflite").write_bytes(bundle.file("entry_0"))
    """

    def __init__(self, path: str | os.PathLike):
        self.path = expanded(path)
        if os.path.isdir(self.path):
            self._read: Callable[[str, int], bytes] = self._from_directory
        elif os.path.isfile(self.path):
            self._read = self._from_archive
        else:
            what = "is neither" if os.path.lexists(self.path) else "does not exist"
            raise ValueError(f"path must be a bundle (a directory, or a file), {shown(path)!r} {what}")
        text = self._read(INDEX, MAX_INDEX)
        self.id = hashlib.sha256(text).hexdigest()
        try:
            self.manifest: dict[str, Any] = parse_json(text)
        except ValueError as error:
            raise ValueError(f"{self.path}: {INDEX} is damaged: {error}") from None
        try:
            check_manifest(self.manifest)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"{self.path}: {INDEX} is not that of a {FORMAT}: {reason}") from None

    def part(self, name: str) -> bytes:
        """A part's bytes, compared with their hash.

        Args:
            name: of ``bundle.json``'s parts.

        Returns:
            The bytes.

        Raises:
            ValueError: the part is missing or damaged.
        """
        entry = self.manifest["parts"][name]
        data = self._read(name, entry["bytes"])
        if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ValueError(f"{self.path}: {name} is damaged: its size or sha256 is not that of {INDEX}")
        return data

    @cached_property
    def kernels(self) -> dict[str, np.ndarray]:
        """The full kernels by key: views of one buffer."""
        entry = self.manifest["kernels"]
        data, dtype = self.part(entry["part"]), np.dtype(entry["dtype"])
        views = {}
        for key, (offset, shape) in entry["index"].items():
            views[key] = np.frombuffer(data, dtype, int(np.prod(shape)), offset).reshape(shape)
        return views

    @property
    def files(self) -> list[str]:
        """The names of the files that the parts make: "route", then "entry_<k>" and "body_<k>" of every level k."""
        return file_names(len(self.manifest["madds"]["body"]))

    def template(self, name: str) -> Template:
        """A file's template, checked against the kernels.

        Args:
            name: see ``file``.

        Returns:
            The template.

        Raises:
            ValueError: no such file, or its part is missing or damaged.
        """
        if name not in self.manifest["files"]:
            raise ValueError(f"name must be one of {self.files}, received {name!r}")
        files = self.manifest["files"]
        entry, route = files[name], files["route"]["part"]
        part, sizes = entry["part"], {file: files[file]["size"] for file in files}
        kernels = self.manifest["kernels"]
        if self.manifest["format_version"] == 2:
            with self._blaming(part):
                return separate_template(self.part(part), entry["size"], kernels)
        shared, data = self.part(route), None if part == route else self.part(part)
        with self._blaming(route):
            words = lent(shared)
        with self._blaming(part):
            repeated = self.manifest["format_version"] == TASK_VERSION
            return shared_template(words, shared, data, name, sizes, kernels, repeated)

    @contextlib.contextmanager
    def _blaming(self, part: str) -> Iterator[None]:
        """Whatever fails within is a fault of this part."""
        try:
            yield
        except Exception as error:  # what zipfile raises for a damaged archive has no common type
            raise ValueError(f"{self.path}: {part} is damaged: {error}") from None

    def file(self, name: str) -> bytes:
        """A static TFLite file.

        Args:
            name: "route" (images to features and gate logits), "entry_<k>" (level k: images to logits, and to the
                features) or "body_<k>" (level k behind the shared start: features to logits). Files of a detector give
                boxes and scores instead of logits.

        Returns:
            The file's bytes, whose hash is that of ``bundle.json``.

        Raises:
            ValueError: no such file, or a part is missing or damaged.
        """
        data = materialize(self.template(name), self.kernels)
        if not self.is_file(name, data):
            raise ValueError(f"{self.path}: {name} is damaged: what its parts make is not the published file")
        return data

    def is_file(self, name: str, data: bytes) -> bool:
        """Whether these bytes are that file."""
        return hashlib.sha256(data).hexdigest() == self.manifest["files"][name]["sha256"]

    def _missing(self, name: str) -> ValueError:
        where = f"{self.path} is not a bundle, or a damaged one" if name == INDEX else self.path
        return ValueError(f"{where}: {name} is missing")

    def _from_directory(self, name: str, limit: int) -> bytes:
        path = self.path / name
        try:
            if not path.is_file():
                raise self._missing(name)
            with open(path, "rb") as file:
                return bounded(file, os.fstat(file.fileno()).st_size, limit, f"{self.path}: {name}")
        except OSError as error:
            raise ValueError(f"{self.path}: {name} cannot be read: {error}") from None

    def _from_archive(self, name: str, limit: int) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive:
                info = archive.getinfo(name)
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                    raise ValueError(f"{name} is not stored as it is")
                if info.file_size > os.path.getsize(self.path):
                    raise ValueError(f"{name} is larger than the file")
                with archive.open(info) as file:
                    return bounded(file, info.file_size, limit, name)
        except KeyError:
            raise self._missing(name) from None
        except Exception as error:  # what zipfile raises for a damaged archive has no common type
            raise ValueError(f"{self.path} is not a bundle, or a damaged one: {error}") from None
