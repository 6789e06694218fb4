"""Tables in Markdown."""

from typing import Any


def table(header: list[str], rows: list[list[Any]]) -> str:
    """A table; None is an empty cell."""
    cells = [header, ["---"] * len(header), *[["" if c is None else str(c) for c in row] for row in rows]]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
