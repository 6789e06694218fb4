"""Pieces of an HTML page. Every text is escaped here, and nowhere else: what the pieces return is markup."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

# Nothing is fetched and no script runs, whatever a label or a command holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 0 1rem 3rem; max-width: 60rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; margin: 1.5rem 0 0.5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
p, li, pre, figcaption { overflow-wrap: anywhere; max-width: 44rem; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0.8rem 0; flex: 1 1 20rem; max-width: 34rem; min-width: 0; }
figure img { width: 100%; height: auto; background: #fff; border-radius: 6px; display: block; }
figcaption, caption { font-size: 0.9rem; text-align: left; padding: 0.3rem 0; }
caption div { position: sticky; left: 0; width: min(100%, calc(100vw - 3.5rem)); }
.scroll { overflow-x: auto; margin: 0.8rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: normal; }
thead th { vertical-align: bottom; white-space: normal; min-width: 4.3rem; }
pre { background: var(--soft); padding: 0.7rem; border-radius: 6px; white-space: pre-wrap; max-width: none; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: 0.7rem; }
.pictures figure { margin: 0; }
.pictures img { image-rendering: pixelated; }
"""


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page.

    Args:
        title: text.
        parts: markup of its body, in order.

    Returns:
        HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def escape(text: Any) -> str:
    """Text as markup that shows it."""
    return html.escape(str(text), quote=True)


def section(title: str, *parts: str) -> str:
    """Markup under a heading."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: Any) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def listing(rows: dict[str, Any]) -> str:
    """A list of names and what they are."""
    return "<ul>\n" + "\n".join(f"<li><b>{escape(k)}</b>: {escape(v)}</li>" for k, v in rows.items()) + "\n</ul>"


def code(text: str) -> str:
    """A command, as it is typed."""
    return f"<pre><code>{escape(text)}</code></pre>"


def table(caption: str, header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table that scrolls by itself where the screen is narrow.

    Args:
        caption: text.
        header: of the columns.
        rows: cells; the first of each names its row, None is an empty one.

    Returns:
        Markup.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{'' if cell is None else escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">\n<table>\n'
        f"<caption><div>{escape(caption)}</div></caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def plot(svg: bytes, alt: str, caption: str) -> str:
    """A figure, inside the page. As an image of its own, so that the names in its markup meet no others.

    Args:
        svg: the figure.
        alt: what it shows, for those who do not see it.
        caption: text below.

    Returns:
        Markup.
    """
    return _figure("data:image/svg+xml;base64," + base64.b64encode(svg).decode(), alt, caption)


def plots(*figures: str) -> str:
    """Figures side by side where there is room."""
    return '<div class="plots">\n' + "\n".join(figures) + "\n</div>"


def pictures(rows: Sequence[tuple[np.ndarray, str]]) -> str:
    """Small pictures with captions.

    Args:
        rows: (height, width, 1 or 3) uint8 and a text for each.

    Returns:
        Markup.
    """
    from PIL import Image

    found = []
    for image, caption in rows:
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "png", optimize=True)
        source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
        found.append(_figure(source, f"image: {caption}", caption))
    return '<div class="pictures">\n' + "\n".join(found) + "\n</div>"


def boxed(rows: Sequence[tuple[np.ndarray, str]]) -> str:
    """As ``pictures``, large enough to see boxes that are drawn on them."""
    return pictures(rows).replace('class="pictures"', 'class="plots"', 1)


def _figure(source: str, alt: str, caption: str) -> str:
    return f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>'
