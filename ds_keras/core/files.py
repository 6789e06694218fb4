"""Files that are either whole or absent: temporary name, fsync, rename. And files of others, read within bounds."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

WRITING = ".writing-"  # prefix of the folders of unfinished files
MAX_JSON, MAX_DEPTH, MAX_DIGITS = 16 << 20, 64, 19  # bytes of a JSON file, its nesting, digits of an integer
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)  # of JSON
_STEPS, _NO_STEP = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff"), bytes(set(range(256)) - set(b"[{]}"))


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path next to ``path``; what is written there replaces ``path`` when the block ends well.

    Args:
        path: file to write.

    Yields:
        The temporary path, with the same suffixes.

    Example:
        >>> with replacing("logits.npy") as temporary:
        ...     np.save(temporary, logits)
    """
    path = expanded(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=WRITING) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:  # a full disk says no name, or that of the temporary file
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def sweep(directory: str | os.PathLike, age: float = 3600.0) -> None:
    """Removes what a killed process left of its unfinished files.

    Args:
        directory: where files are written; may be missing.
        age: seconds since the last change; younger ones may belong to a process that is writing.
    """
    for folder in Path(directory).glob(f"{WRITING}*"):
        with contextlib.suppress(OSError):  # another process may sweep too
            if time.time() - folder.stat().st_mtime > age:
                shutil.rmtree(folder)


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Writes a whole file, or leaves the old one."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes JSON, readable and with a final newline."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def check_output(path: str | os.PathLike, file: bool = False) -> None:
    """Refuses a place where nothing can be written, before the work whose result shall lie there.

    Args:
        path: of a file or directory that need not exist.
        file: whether it cannot be a directory.

    Raises:
        OSError: a name that no file system takes.
        ValueError: a part of the path is a file, nothing may be written there, or a directory stands in the way.
    """
    place = expanded(path)
    if not str(path) or "\0" in str(path):
        raise ValueError("it is no path")
    if file and os.path.isdir(place):
        raise ValueError("it is a directory")
    while not os.path.lexists(place):
        if len(os.fsencode(place.name)) > 255:
            raise ValueError("a name of more than 255 bytes")
        place = place.parent
    at = place if os.path.isdir(place) else place.parent
    if not os.path.isdir(place) and place != expanded(path):
        raise ValueError(f"{shown(place)} is no directory")
    try:
        with tempfile.NamedTemporaryFile(dir=at, prefix=WRITING):  # the only sure way to know
            pass
    except OSError as error:
        raise ValueError(f"nothing may be written in {shown(at)}: {error.strerror}") from None
    if not os.path.isdir(place) and not stat.S_ISREG(os.stat(place).st_mode):
        raise ValueError(f"{shown(place)} is no regular file")


def expanded(path: str | os.PathLike) -> Path:
    """A path with the home directory for "~"; "~name" of an unknown user stays as it is."""
    return Path(os.path.expanduser(path))


def read_limited(path: str | os.PathLike, limit: int) -> bytes:
    """The bytes of a regular file. Pipes and devices, which might never end, are not opened.

    Args:
        path: of the file.
        limit: bytes that it may have.

    Raises:
        ValueError: no such file, another kind of file, a larger one, or one that cannot be read. The message names it.
    """
    try:
        size = check_regular(path, limit)
        with open(path, "rb") as file:
            data = file.read(size + 1)  # memory for so many bytes is taken at once
        if len(data) > size:
            raise ValueError("it grew while it was read")
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {shown(path)}: {error}") from None
    return data


def check_regular(path: str | os.PathLike, limit: int) -> int:
    """Refuses what is not a regular file, or has more bytes than the limit.

    Returns:
        Its bytes.

    Raises:
        OSError: no such file.
        ValueError: another kind of file, or a larger one.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a regular file")
    if found.st_size > limit:
        raise ValueError(f"{found.st_size} bytes, at most {limit} are allowed")
    return found.st_size


def parse_json(data: bytes) -> Any:
    """JSON of others: its nesting and its integers are bounded.

    Args:
        data: UTF-8.

    Returns:
        The value.

    Raises:
        ValueError: damaged, nested deeper than ``MAX_DEPTH``, or with an integer of more than ``MAX_DIGITS`` digits.
    """
    steps = np.frombuffer(_TEXTS.sub(b"", data).translate(_STEPS, _NO_STEP), np.int8)
    if steps.cumsum(dtype=np.int32).max(initial=0) > MAX_DEPTH:  # before it is parsed
        raise ValueError(f"JSON nested deeper than {MAX_DEPTH}")
    return json.loads(data.decode(), parse_int=_integer)


def read_json(path: str | os.PathLike, limit: int = MAX_JSON) -> Any:
    """The value of a JSON file of others, read within bounds.

    Args:
        path: of the file.
        limit: bytes that it may have.

    Returns:
        The value.

    Raises:
        ValueError: see ``read_limited`` and ``parse_json``. The message names the file.
    """
    data = read_limited(path, limit)
    try:
        return parse_json(data)
    except ValueError as error:
        raise ValueError(f"cannot read {shown(path)}: {error}") from None


def shown(text: Any, most: int = 200) -> str:
    """A name of others for a message or a table: what is not printable is escaped, what is long is cut."""
    text = os.fspath(text) if isinstance(text, os.PathLike) else str(text)
    text = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"an integer of more than {MAX_DIGITS} digits, {text[:8]}...")
    return int(text)


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
