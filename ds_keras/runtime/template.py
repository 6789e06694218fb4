"""Reads a file's template from the parts of a bundle; every size is checked before it is allocated. numpy alone.

Format version 2 has a part for each file. Version 3 has one for each level, whose files share what is equal, and one
for the route, whose bytes every level may use. There, a file's graph and tail are put together from pieces: bytes of
its own, and copies from what was there before. Version 4 is as version 3; in a file, a kernel may occur again.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from ds_keras.core.files import parse_json
from ds_keras.runtime.manifest import checked_plan, need, whole
from ds_keras.runtime.materialize import Template

MAX_GRAPH = 64 << 20  # bytes of a file's graph, which holds no kernels
MAX_PLAN = 16 << 20  # bytes of a part's plan, of its words, and of a file's tail
GRAPH, PLAN, FACTORS, TAIL = "graph.tflite", "plan.json", "factors.bin", "tail.bin"  # of a part of version 2
WORDS, PATTERN, LITERALS = "words.bin", "pattern.bin", "literals.bin"  # of a part of version 3, besides its plan
MAX_FILES = 2  # of a part of version 3: a level's entry and body; each may be made of what was put together before


def bounded(file: Any, size: int, limit: int, what: str) -> bytes:
    """The bytes of an opened file that declares its size.

    Raises:
        ValueError: it declares more than the limit.
    """
    if size > limit:
        raise ValueError(f"{what} is damaged: {size} bytes, at most {limit} are allowed")
    return file.read(size + 1)  # a file allocates what it is asked for


def _members(part: bytes, limits: dict[str, int]) -> list[bytes]:
    """Members of a part, in the order of the limits of their sizes."""
    found = []
    with zipfile.ZipFile(io.BytesIO(part)) as archive:
        for name, limit in limits.items():
            info = archive.getinfo(name)
            with archive.open(info) as file:
                data = bounded(file, info.file_size, limit, name)
            if len(data) != info.file_size:
                raise ValueError(f"{name} has another size than it declares")
            found.append(data)
    return found


def separate_template(part: bytes, size: int, kernels: dict[str, Any]) -> Template:
    """The template of a file of a version 2 bundle.

    Args:
        part: of the file.
        size: of the file, bytes.
        kernels: of the manifest.

    Returns:
        The template, checked.

    Raises:
        Exception: the part is damaged; what ``zipfile`` raises has no common type.
    """
    limits = {GRAPH: min(size, MAX_GRAPH), TAIL: MAX_PLAN, PLAN: MAX_PLAN, FACTORS: MAX_PLAN}
    graph, tail, plan, factors = _members(part, limits)
    need(len(factors) % 4 == 0, f"{FACTORS} of whole numbers", len(factors))
    values = np.frombuffer(factors, "<f4")
    copies = checked_plan(parse_json(plan), kernels, len(graph), len(values), size - len(tail))
    return Template(graph, copies, values, tail, size)


def lent(route: bytes) -> tuple[bytes, bytes]:
    """What the route's part of a version 3 bundle lends to every level: words and the pattern.

    Args:
        route: part of the route.

    Raises:
        Exception: the part is damaged; what ``zipfile`` raises has no common type.
    """
    pattern, packed = _members(route, {PATTERN: MAX_GRAPH, WORDS: MAX_PLAN})
    return joined_planes(packed), pattern


def shared_template(
    borrowed: tuple[bytes, bytes],
    route: bytes,
    level: bytes | None,
    name: str,
    sizes: dict[str, int],
    kernels: dict[str, Any],
    repeated: bool = False,
) -> Template:
    """The template of a file of a version 3 bundle, or of version 4.

    Args:
        borrowed: see ``lent``.
        route: part of the route.
        level: part of the file's level; None for the route itself.
        name: of the file.
        sizes: of all files, bytes.
        kernels: of the manifest.
        repeated: see ``manifest.checked_plan``.

    Returns:
        The template, checked.

    Raises:
        Exception: a part is damaged; what ``zipfile`` raises has no common type.
    """
    words, pattern = borrowed
    if level is not None:
        (packed,) = _members(level, {WORDS: MAX_PLAN})
        words += joined_planes(packed)
    text, literals = _members(route if level is None else level, {PLAN: MAX_PLAN, LITERALS: MAX_GRAPH})
    plan, source, used = parse_json(text), words + pattern, 0
    need(isinstance(plan["files"], list) and isinstance(plan["copies"], list), "lists of files and copies", name)
    need(len(plan["files"]) <= MAX_FILES, f"at most {MAX_FILES} files in a part", len(plan["files"]))
    for file in plan["files"]:
        need(file["name"] in sizes, "files of the bundle", file["name"])
        size = sizes[file["name"]]
        graph = whole(file["graph"], 1, min(size, MAX_GRAPH))
        count = graph + whole(file["tail"], 0, min(size - graph, MAX_PLAN))
        made, used = _put_together(file["pieces"], source, literals, used, count)
        if file["name"] == name:
            rows = [plan["copies"][whole(row, 0, len(plan["copies"]) - 1)] for row in file["copies"]]
            values, tail = np.frombuffer(words, "<f4"), made[graph:]
            copies = checked_plan(rows, kernels, graph, len(values), size - len(tail), repeated)
            return Template(made[:graph], copies, values, tail, size)
        source += made
    raise ValueError(f"it has no {name}")


def joined_planes(data: bytes) -> bytes:
    """Numbers of four bytes whose first bytes lie together, then the second ones, ...: one number behind another."""
    need(len(data) % 4 == 0, f"{WORDS} of whole numbers", len(data))
    return np.frombuffer(data, np.uint8).reshape(4, -1).T.tobytes()


def _put_together(pieces: Sequence[Any], source: bytes, literals: bytes, used: int, count: int) -> tuple[bytes, int]:
    """``count`` bytes, and how many literals are used after them.

    A piece [own, skip, copied] is so many of the literals, then so many bytes of the source, ``skip`` behind the last
    one that was copied.
    """
    need(isinstance(pieces, list), "a list of pieces", type(pieces).__name__)
    made, place = [], 0
    for piece in pieces:
        need(isinstance(piece, list) and len(piece) == 3, "pieces of three numbers", piece)
        own = whole(piece[0], 0, min(count, len(literals) - used))
        place += whole(piece[1], -place, len(source) - place)
        copied = whole(piece[2], 0, min(count - own, len(source) - place))
        made += [literals[used : used + own], source[place : place + copied]]
        used, place, count = used + own, place + copied, count - own - copied
    need(count == 0, "pieces that make a graph and a tail", count)
    return b"".join(made), used
