"""Checkpoints that are whole or passed over: an .npz archive of arrays (no pickle) and, behind it, its SHA-256."""

import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from ds_keras.core.files import parse_json, read_limited, write_bytes

MAX_BYTES = 1 << 36  # of a checkpoint
DIGEST = 32  # bytes of SHA-256 behind the archive


def save_checkpoint(
    directory: Path, step: int, variables: Sequence[keras.Variable], meta: dict[str, Any] | None = None, keep: int = 3
) -> Path:
    """Writes ``step-<step>.npz`` (temporary name, fsync, rename) and removes all but the newest ``keep``.

    Args:
        directory: created if needed.
        step: optimizer steps so far.
        variables: everything that determines the rest of the run.
        meta: JSON values to keep with it.
        keep: how many files stay.

    Returns:
        The path.
    """
    path = directory / f"step-{step:09d}.npz"
    arrays = {f"v{i:05d}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    content = io.BytesIO()
    np.savez(content, meta=np.array(json.dumps({"step": step, **(meta or {})})), **arrays)
    write_bytes(path, content.getvalue() + hashlib.sha256(content.getvalue()).digest())
    for old in [path for path in _newest_first(directory) if not os.path.isdir(path)][keep:]:
        old.unlink(missing_ok=True)
    return path


def restore_checkpoint(directory: Path, variables: Sequence[keras.Variable]) -> dict[str, Any] | None:
    """Restores the newest whole checkpoint.

    Args:
        directory: of ``save_checkpoint``.
        variables: in the order in which they were saved.

    Returns:
        The checkpoint's meta, with "step"; None where there is no whole checkpoint.

    Raises:
        ValueError: the newest whole checkpoint belongs to another network or optimizer.
    """
    for path in _newest_first(directory):
        try:
            meta, arrays = _read(path)
        except Exception as error:  # a damaged archive can raise anything
            logging.warning("passing over the damaged checkpoint %s (%s)", path, error)
            continue
        if [a.shape for a in arrays] != [tuple(v.shape) for v in variables]:
            raise ValueError(f"{path} belongs to another network or optimizer: its arrays have other shapes")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return meta
    return None


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    data = read_limited(path, MAX_BYTES)
    content, digest = data[:-DIGEST], data[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its SHA-256 is wrong")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        meta, arrays = parse_json(str(file["meta"]).encode()), [file[f"v{i:05d}"] for i in range(len(file.files) - 1)]
    if not isinstance(meta, dict) or type(meta.get("step")) is not int or meta["step"] < 0:
        raise ValueError("it does not say its step")
    if not all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in arrays):
        raise ValueError("it holds something else than arrays of numbers")
    return meta, arrays


def _newest_first(directory: Path) -> list[Path]:
    files = [path for path in directory.glob("step-*.npz") if re.fullmatch(r"step-\d+\.npz", path.name)]
    return sorted(files, key=lambda path: int(path.stem[5:]), reverse=True)
