"""Reads the tensors of a PyTorch file: no code, and nothing that needs more memory than the file has bytes."""

import argparse
import io
import os
import pickletools
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from ds_keras.core.files import check_regular, shown

MAX_BYTES = 1 << 30  # of a file
MAX_TUPLE = 1000  # values in a tuple and in those within it
ARCHIVE = b"PK\x03\x04"  # begins a file of the newer format
LEGACY = 5  # pickles of the older format: magic, version, system, the object, keys of its tensors


def read_tensors(path: str | os.PathLike, entry: str | None = None) -> dict[str, np.ndarray]:
    """The tensors of a file that ``torch.save`` wrote.

    Args:
        path: of the file.
        entry: the checkpoint holds its tensors under this name; None where it is itself the dictionary of tensors.

    Returns:
        {name: float32 array}.

    Raises:
        OSError: the file cannot be read.
        ImportError: PyTorch is not installed.
        ValueError: another kind of file, or of tensor. The message names the file, and the tensor.
    """
    open_regular(path)
    try:
        import torch
    except ImportError as error:
        raise ImportError("reading a PyTorch checkpoint needs PyTorch: pip install ds_keras[convert]") from error
    try:
        _check_archive(path)
        # timm's trainer, which DS-Net uses, can store its arguments beside the weights: a Namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a bad file fails in many ways inside PyTorch
        reason = shown((str(error).strip() or type(error).__name__).splitlines()[0])
        raise ValueError(f"{path} is not a PyTorch checkpoint of tensors and plain data only: {reason}") from error
    state = checkpoint
    if entry is not None:
        state = checkpoint.get(entry) if isinstance(checkpoint, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(
            f"{path} must hold {entry or 'tensors'!r}, a dictionary of tensors; it holds {_held(checkpoint)}"
        )
    size, values = os.path.getsize(path), 0
    for key, value in state.items():
        if not isinstance(key, str):
            raise ValueError(f"{path}: every tensor must have a string as its name, received {type(key).__name__}")
        if fault := _fault(value, torch):
            raise ValueError(f"{path}: {shown(key)} must be a plain tensor of real numbers, it is {fault}")
        size, values = size - value.numel() * value.element_size(), values + value.numel()
        if size < 0 or 4 * values > MAX_BYTES:
            raise ValueError(f"{path}: {shown(key)} and those before it take more bytes than the file, or {MAX_BYTES}")
    return {key: value.detach().to(torch.float32).numpy() for key, value in state.items()}


def open_regular(path: str | os.PathLike) -> None:
    """Refuses a file that cannot be read, before PyTorch or another library looks at it.

    Raises:
        OSError: it names the file.
        ValueError: a pipe, a device, or a file of more than ``MAX_BYTES``.
    """
    try:
        check_regular(path, MAX_BYTES)
    except ValueError as error:
        raise ValueError(f"cannot read {shown(path)}: {error}") from None
    open(path, "rb").close()


def _check_archive(path: str | os.PathLike) -> None:
    """Refuses an archive that unpacks to more than it is. The older format, which is none, packs nothing."""
    with open(path, "rb") as file:
        archive_begins = file.read(len(ARCHIVE)) == ARCHIVE  # by which PyTorch tells them apart
        file.seek(0)
        for _ in range(0 if archive_begins else LEGACY):
            _check_pickle(file)
    if not archive_begins:
        return
    with zipfile.ZipFile(path) as archive:
        files = archive.infolist()
        if any(info.compress_type != zipfile.ZIP_STORED for info in files):
            raise ValueError("its parts are compressed, which PyTorch does not write")
        if sum(info.file_size for info in files) > os.path.getsize(path):
            raise ValueError("its parts declare more bytes than the file has")
        for info in files:
            if info.filename.endswith("data.pkl"):
                _check_pickle(io.BytesIO(archive.read(info)))


def _check_pickle(file: IO[bytes]) -> None:
    """Refuses a pickle with a large tuple: as a key it is hashed, nested ones in exponential time. Runs nothing."""
    stack: list[int | None] = []  # values in each tuple, 1 for anything else, None for a mark
    memo: dict[Any, int] = {}
    for opcode, argument, _ in pickletools.genops(file):
        name, top = opcode.name, stack[-1:]
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = (top and top[0]) or 1
            continue
        if name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(argument, 1))
            continue
        if name == "DUP":
            stack += top
            continue
        taken: list[int | None] = []
        before = opcode.stack_before
        if pickletools.markobject in before:
            while stack and (value := stack.pop()) is not None:
                taken.append(value)
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            if stack:
                taken.append(stack.pop())
        size = 1 + sum(value or 1 for value in taken) if "TUPLE" in name else 1
        if size > MAX_TUPLE:
            raise ValueError(f"it holds a tuple of more than {MAX_TUPLE} values")
        stack += [None if kind is pickletools.markobject else size for kind in opcode.stack_after]


def _fault(value: Any, torch: Any) -> str | None:
    """What a tensor is that cannot be a weight."""
    if value.layout != torch.strided or value.is_nested:
        return f"of the layout {value.layout}"
    if value.device.type != "cpu":
        return f"on the device {value.device.type!r}, without numbers"
    if value.is_quantized or value.is_complex():
        return f"of {value.dtype}"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"of shape {tuple(value.shape)}, more than its bytes"
    return None


def _held(checkpoint: Any) -> str:
    if not isinstance(checkpoint, Mapping):
        return type(checkpoint).__name__
    names = [key if isinstance(key, str) else type(key).__name__ for key in list(checkpoint)[:8]]
    return shown(", ".join(sorted(names)) or "nothing")
