"""Reads a bundle: every number is checked before it is used, every part against its hash. numpy alone."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.runtime.manifest import FORMAT, INDEX, check_manifest, checked_plan, file_names
from ds_keras.runtime.materialize import Template, materialize

MAX_INDEX = 16 << 20  # bytes of bundle.json
MAX_GRAPH = 64 << 20  # bytes of a file's graph, which holds no kernels
MAX_PLAN = 16 << 20  # bytes of a file's plan, of its fold vector, and of its tail
GRAPH, PLAN, FACTORS, TAIL = "graph.tflite", "plan.json", "factors.bin", "tail.bin"  # of a file's part


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
        self.path = Path(path)
        if self.path.is_dir():
            self._read: Callable[[str, int], bytes] = self._from_directory
        elif self.path.is_file():
            self._read = self._from_archive
        else:
            raise ValueError(f"path must be a bundle (a directory, or a file), {str(path)!r} does not exist")
        text = self._read(INDEX, MAX_INDEX)
        self.id = hashlib.sha256(text).hexdigest()
        try:
            self.manifest: dict[str, Any] = json.loads(text.decode())
        except (ValueError, RecursionError) as error:
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
        entry = self.manifest["files"][name]
        part, data = entry["part"], self.part(entry["part"])
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                graph = _member(archive, GRAPH, min(entry["size"], MAX_GRAPH))
                tail, plan, factors = (_member(archive, member, MAX_PLAN) for member in (TAIL, PLAN, FACTORS))
            if len(factors) % 4:
                raise ValueError(f"{FACTORS} holds {len(factors)} bytes")
            values, end = np.frombuffer(factors, "<f4"), entry["size"] - len(tail)
            copies = checked_plan(json.loads(plan), self.manifest["kernels"], len(graph), len(values), end)
        except Exception as error:  # what zipfile raises for a damaged archive has no common type
            raise ValueError(f"{self.path}: {part} is damaged: {error}") from None
        return Template(graph, copies, values, tail, entry["size"])

    def file(self, name: str) -> bytes:
        """A static TFLite file.

        Args:
            name: "route" (images to features and gate logits), "entry_<k>" (level k: images to logits, and to the
                features) or "body_<k>" (level k behind the shared start: features to logits).

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
                return _bounded(file, os.fstat(file.fileno()).st_size, limit, f"{self.path}: {name}")
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
                    return _bounded(file, info.file_size, limit, name)
        except KeyError:
            raise self._missing(name) from None
        except Exception as error:  # what zipfile raises for a damaged archive has no common type
            raise ValueError(f"{self.path} is not a bundle, or a damaged one: {error}") from None


def _bounded(file: Any, size: int, limit: int, what: str) -> bytes:
    if size > limit:
        raise ValueError(f"{what} is damaged: {size} bytes, at most {limit} are allowed")
    return file.read(size + 1)  # a file allocates what it is asked for


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    info = archive.getinfo(name)
    with archive.open(info) as file:
        data = _bounded(file, info.file_size, limit, name)
    if len(data) != info.file_size:
        raise ValueError(f"{name} has another size than it declares")
    return data
