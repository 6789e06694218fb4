"""Files that are either whole or absent: temporary name, fsync, rename."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITING = ".writing-"  # prefix of the folders of unfinished files


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
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=WRITING) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
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


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
