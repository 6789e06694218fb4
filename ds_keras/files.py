"""Files that are either whole or absent: temporary name, fsync, rename."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
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
