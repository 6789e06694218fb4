"""Runs the Python of a page or a notebook, block by block in one namespace, as its reader would."""

import json
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```", re.M | re.S)


def blocks(page):
    """(line, code) of every Python block of a page or a notebook, given by its path in the repository."""
    text = (ROOT / page).read_text()
    if page.endswith(".ipynb"):
        return [(0, _without_magic("".join(cell["source"]))) for cell in cells(page) if cell["cell_type"] == "code"]
    return [(text.count("\n", 0, match.start(2)), textwrap.dedent(match[2])) for match in BLOCK.finditer(text)]


def cells(notebook):
    """Of a notebook, given by its path."""
    return json.loads((ROOT / notebook).read_text())["cells"]


def _without_magic(code):
    """Code of a cell, which installs nothing."""
    return re.sub(r"^( *)%pip .*", r"\1pass", code, flags=re.M)


def run(page, replace=()):
    """Runs a page and gives its names.

    Each pair of ``replace`` is text of the page and what stands for it: a long training becomes a short one. All of
    it must be found, so that a changed page is noticed.
    """
    found, names = blocks(page), {"__name__": "__main__"}
    assert found, page
    for long, short in replace:
        assert any(long in code for _, code in found), f"{page} has no {long!r}"
        found = [(line, code.replace(long, short)) for line, code in found]
    for line, code in found:
        exec(compile("\n" * line + code, str(ROOT / page), "exec"), names)
    return names
