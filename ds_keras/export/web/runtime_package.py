"""LiteRT.js, which runs TFLite files in a browser: fetched from the npm registry once, or taken from a folder."""

import base64
import hashlib
import io
import os
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from ds_keras.core.files import expanded, read_limited, write_bytes

NAME, VERSION, LICENCE = "@litertjs/core", "2.5.3", "Apache-2.0"
URL = f"https://registry.npmjs.org/{NAME}/-/core-{VERSION}.tgz"
INTEGRITY = "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ=="
LIBRARY = "dist/index.js"
BUILDS = {"relaxed": "wasm/litert_wasm_internal", "compatible": "wasm/litert_wasm_compat_internal"}  # .js and .wasm
SHA256 = {
    LIBRARY: "e7daccc3a31eef890848a737ccb863ded5f046a6b40c3fdc0556495adeb5d9b3",
    "wasm/litert_wasm_internal.js": "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb",
    "wasm/litert_wasm_internal.wasm": "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614",
    "wasm/litert_wasm_compat_internal.js": "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
    "wasm/litert_wasm_compat_internal.wasm": "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
}
MAX_BYTES = 64 << 20  # of a file
SECONDS = 60.0  # that the registry may be silent


def runtime_files(folder: str | os.PathLike | None = None) -> dict[str, bytes]:
    """The files of LiteRT.js that a page needs, each compared with its sha256.

    Args:
        folder: that holds the package, as ``npm install @litertjs/core`` or ``npm pack`` and ``tar`` leave it. None
            takes the files from the user's cache, and fetches them from the npm registry where they are not there.

    Returns:
        Content by the name within the package.

    Raises:
        ValueError: a file is missing or has another hash: it is of another version.
        OSError: the registry cannot be reached, or the cache not be written.

    Example:
        >>> runtime_files("node_modules/@litertjs/core")["dist/index.js"]
    """
    if folder is not None:
        return dict(_read(_package_in(expanded(folder))))
    cached = cache_folder()
    try:
        return dict(_read(cached))
    except ValueError:  # not there, or cut short
        found = _fetched()
    for name, data in found.items():
        write_bytes(cached / name, data)
    return found


def cache_folder() -> Path:
    """Where fetched files are kept: ``$XDG_CACHE_HOME``, or the system's folder for caches."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        root = Path(base)
    elif sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        root = Path.home() / ".cache"
    return root / "ds_keras" / f"litertjs-{VERSION}"


def _package_in(folder: Path) -> Path:
    """The package itself, where a folder above it was named."""
    inside = (folder, folder / "package", folder / NAME, folder / "node_modules" / NAME)
    return next((path for path in inside if (path / LIBRARY).is_file()), folder)


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name, digest in SHA256.items():
        try:
            data = read_limited(folder / name, MAX_BYTES)
        except ValueError as error:
            raise ValueError(f"runtime must be a folder with {NAME} {VERSION}: {error}") from None
        _check(data, name, digest, str(folder))
        yield name, data


def _check(data: bytes, name: str, digest: str, where: str) -> None:
    received = hashlib.sha256(data).hexdigest()
    if received != digest:
        raise ValueError(
            f"runtime must hold {NAME} {VERSION}: {name} of {where} has sha256 {received}, expected {digest}"
        )


def _fetched() -> dict[str, bytes]:
    logging.info("fetching %s %s from %s, once: 12 MB", NAME, VERSION, URL)
    try:
        with urllib.request.urlopen(URL, timeout=SECONDS) as response:
            packed = response.read()
    except OSError as error:
        raise OSError(
            f"cannot fetch {NAME} {VERSION} from {URL}: {error}. Without internet, give runtime= (--runtime=) a folder "
            "that holds the package"
        ) from error
    received = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
    if received != INTEGRITY:
        raise ValueError(f"{URL} gave another file: integrity {received}, expected {INTEGRITY}")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for name, digest in SHA256.items():
            member = archive.extractfile(f"package/{name}")
            found[name] = member.read() if member else b""
            _check(found[name], name, digest, URL)
    return found
