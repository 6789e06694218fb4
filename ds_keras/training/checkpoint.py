"""Checkpoints that are whole or passed over: arrays only, no pickle."""

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from absl import logging

from ds_keras.files import replacing


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
    with replacing(path) as temporary:
        np.savez(temporary, meta=np.array(json.dumps({"step": step, **(meta or {})})), **arrays)
    for old in _newest_first(directory)[keep:]:
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
            with np.load(path, allow_pickle=False) as file:
                meta = json.loads(str(file["meta"]))
                arrays = [file[f"v{i:05d}"] for i in range(len(file.files) - 1)]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
            logging.warning("passing over the damaged checkpoint %s (%s)", path, error)
            continue
        if [a.shape for a in arrays] != [tuple(v.shape) for v in variables]:
            raise ValueError(f"{path} belongs to another network or optimizer: its arrays have other shapes")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return meta
    return None


def _newest_first(directory: Path) -> list[Path]:
    files = [path for path in directory.glob("step-*.npz") if re.fullmatch(r"step-\d+\.npz", path.name)]
    return sorted(files, key=lambda path: int(path.stem[5:]), reverse=True)
