"""Puts a page together: markup, style, scripts and data. What may run or be read is named in its security policy."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from ds_keras.export.web.runtime_package import BUILDS, LIBRARY

# In the order in which they use each other. The reader needs no browser.
READER = ("sha256", "archive", "manifest", "template", "graph", "materialize", "bundle", "policies", "router", "boxes")
SCRIPTS = (*READER, "engine", "image", "timing", "classifier", "figures", "camera", "view", "app")
LIBRARY_CHANGES = (  # as a plain script, which opens from a disk too; int8 features; no GPU until one is wanted
    ('import { createWasmLib } from "@litertjs/wasm-utils";\n', ""),
    (
        "elementType: ElementType.UINT8\n  }\n]);",
        "elementType: ElementType.UINT8\n  },\n"
        '  { dtype: "int8", typedArrayConstructor: Int8Array, elementType: ElementType.INT8 }\n]);',
    ),
    ("await Environment.create()", "await Environment.create({ webGpuDevice: null })"),
    ("export {\n  CompiledModel,", "globalThis.LiteRtJs = {\n  CompiledModel,"),
)  # fmt: skip
# Nothing is fetched from any host, and no other script runs, whatever a label or a licence holds.
POLICY = (
    "default-src 'none'; script-src {scripts} 'wasm-unsafe-eval'; style-src {styles}; img-src blob: data:; "
    "media-src blob: mediastream:; connect-src {connect}; base-uri 'none'; form-action 'none'"
)


def source(name: str) -> str:
    """The text of a file of the page."""
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


def script(names: tuple[str, ...] = SCRIPTS) -> str:
    """Scripts as one, whose names nothing outside meets.

    Args:
        names: without ".js", in the order in which they use each other.

    Returns:
        JavaScript.
    """
    return "(() => {\n" + "\n".join(source(f"{name}.js") for name in names) + "\n})();\n"


def library(text: str) -> str:
    """LiteRT.js as a plain script that sets ``LiteRtJs``.

    Raises:
        ValueError: it is not the version that this is written for.
    """
    for old, new in LIBRARY_CHANGES:
        if text.count(old) != 1:
            raise ValueError(f"runtime must be another version of LiteRT.js: {LIBRARY} does not hold {old!r} once")
        text = text.replace(old, new)
    return "(() => {\n" + text + "\n})();\n"


def document(title: str, settings: Any, runtime: Mapping[str, bytes], data: Mapping[str, bytes], apart: bool) -> str:
    """The page.

    Args:
        title: text.
        settings: plain data for the scripts.
        runtime: files of LiteRT.js.
        data: content by name, inside the page.
        apart: whether the page reads its data from files beside it instead.

    Returns:
        HTML.
    """
    glue = {name: runtime[f"{path}.js"].decode() for name, path in BUILDS.items()}
    scripts = [library(runtime[LIBRARY].decode()), script()]
    style = source("style.css")
    policy = POLICY.format(
        scripts=" ".join(map(_hash, [*scripts, *glue.values()])),
        styles=_hash(style),
        connect="'self'" if apart else "'none'",
    )
    values = {
        "title": html.escape(title),
        "policy": html.escape(policy),
        "style": style,
        "licence": html.escape(source("apache-2.0.txt")),
        "settings": json.dumps(settings, ensure_ascii=True).replace("<", "\\u003c"),
        "data": "\n".join(_block(f"data-{name}", base64.b64encode(content).decode()) for name, content in data.items()),
        "glue": "\n".join(_block(f"glue-{name}", text) for name, text in glue.items()),
        "scripts": "\n".join(f"<script>{_inline(text)}</script>" for text in scripts),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], source("page.html"))


def _block(name: str, text: str) -> str:
    """Text that the scripts read; nothing runs it."""
    return f'<script type="text/plain" id="{name}">{_inline(text)}</script>'


def _inline(text: str) -> str:
    """Text as it may stand in a script element."""
    for found in ("</script", "<!--", "\r"):
        if found in text.lower():
            raise ValueError(f"a script of the page must not hold {found!r}")
    return text


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
