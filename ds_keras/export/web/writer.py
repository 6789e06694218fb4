"""Writes a page that runs a bundle in a browser."""

import base64
import gzip
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ds_keras.core.files import expanded, read_limited, write_bytes
from ds_keras.export.web import page, runtime_package
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.graph_check import check_graph
from ds_keras.runtime.manifest import INDEX

BUNDLE = "model.dsbundle"  # in a page's folder
MAX_PICTURE = 128 << 20  # bytes of a picture
ABOUT = ("data", "licence", "trained_on", "tested_on")  # of a card, what the page says


def to_web(
    bundle: str | os.PathLike | Bundle,
    output: str | os.PathLike,
    runtime: str | os.PathLike | None = None,
    card: Mapping[str, Any] | None = None,
    pictures: Sequence[str | os.PathLike | bytes] = (),
) -> Path:
    """Writes a page that runs a bundle in a browser, on a phone for one: camera, budget, times of every level.

    It needs no server and asks no host for anything: LiteRT.js and the bundle are inside. Every file of the bundle is
    made and checked first. Browsers need WebAssembly with SIMD and DecompressionStream (from about 2023 on).

    Args:
        bundle: what ``to_bundle`` wrote: a directory or a file, or a ``Bundle``; of float32, float16 or int8 weights.
        output: "page.html", one file that opens from a disk too. Another name is a folder: an ``index.html`` and its
            data beside it, for a web server; a quarter smaller, and a browser fetches one of two builds of LiteRT.js.
        runtime: folder that holds npm's ``@litertjs/core`` in the version of ``runtime_package``. Default: the user's
            cache, filled from the npm registry at the first call.
        card: of ``ds_keras.zoo.card``: the data and its terms, which the page names.
        pictures: image files, or their content, that the page offers to try; it opens with the answer to the first.

    Returns:
        The path of the HTML file.

    Raises:
        ValueError: not a bundle, a damaged one, or another version of LiteRT.js.
        OSError: the registry cannot be reached, or the output not be written.

    Example:
        >>> export.to_web(ds_keras.zoo.bundle("ds_mobilenet"), "page.html")
    """
    bundle = bundle if isinstance(bundle, Bundle) else Bundle(expanded(bundle))
    for name in bundle.files:
        check_graph(bundle.file(name))
    files = runtime_package.runtime_files(runtime)
    wasm = {f"litert-{name}.wasm.gz": files[f"{path}.wasm"] for name, path in runtime_package.BUILDS.items()}
    data = {**{name: packed(content) for name, content in wasm.items()}, BUNDLE: in_one_file(bundle)}
    settings = {
        "about": {key: str(card[key]) for key in ABOUT if card and key in card},
        "runtime": {"name": "LiteRT.js", "package": runtime_package.NAME, "version": runtime_package.VERSION},
        "pictures": [base64.b64encode(_content(picture)).decode() for picture in pictures],
        "sizes": {name: len(content) for name, content in wasm.items()},
    }
    output = expanded(output)
    apart = output.suffix.lower() not in (".html", ".htm")
    text = page.document(bundle.manifest["name"], settings, files, {} if apart else data, apart)
    if apart:
        for name, content in data.items():
            write_bytes(output / name, content)
        output /= "index.html"
    write_bytes(output, text.encode())
    return output


def _content(file: str | os.PathLike | bytes) -> bytes:
    return file if isinstance(file, bytes) else read_limited(expanded(file), MAX_PICTURE)


def packed(data: bytes) -> bytes:
    """gzip, the same bytes every time."""
    return gzip.compress(data, 9, mtime=0)


def in_one_file(bundle: Bundle) -> bytes:
    """The parts of a bundle in the single-file form."""
    if bundle.path.is_file():
        return bundle.path.read_bytes()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in (INDEX, *bundle.manifest["parts"]):
            data = (bundle.path / INDEX).read_bytes() if name == INDEX else bundle.part(name)
            archive.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()
