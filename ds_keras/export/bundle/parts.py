"""The parts of a bundle (format version 3): templates that store once what they share.

The words of a part are the numbers of its files, each vector once: BatchNorm factors, biases, int8 scales. The rest of
a file's graph differs little from the same graph of another level. It is stored as pieces of a pattern: the largest
level's graph without its words. ``runtime.template`` reads the parts.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from ds_keras.export.flatbuffer import read
from ds_keras.runtime.materialize import Template
from ds_keras.runtime.template import LITERALS, PATTERN, PLAN, WORDS

SMALLEST = 16  # bytes of a vector, and of a copy that begins elsewhere
STEP = 4  # bytes: what flatbuffers align


def level_parts(templates: Mapping[str, Template]) -> dict[str, tuple[str, bytes]]:
    """The parts that templates become.

    Args:
        templates: by the name of the file, of all files of a bundle, in the order of ``file_names``.

    Returns:
        For each file the name of its part, and the part.
    """
    levels = [name.partition("_")[2] for name in templates if name.startswith("entry_")]
    largest = templates[f"entry_{levels[-1]}"]
    pattern = _pattern(largest)
    shared = _Words()
    route = _part({"route": templates["route"]}, shared, pattern, {PATTERN: pattern})
    found = {"route": ("route.zip", route)}
    for level in levels:
        names = [f"entry_{level}", f"body_{level}"]
        own = _Words(shared)
        part = _part({name: templates[name] for name in names}, own, pattern, {})
        found |= {name: (f"level_{level}.zip", part) for name in names}
    return {name: found[name] for name in templates}


class _Words:
    """Vectors of four-byte numbers, each once, behind those of another."""

    def __init__(self, before: "_Words | None" = None):
        self.before: bytes = b"" if before is None else before.before + before.own
        self.own: bytes = b""
        self.places: dict[bytes, int] = {} if before is None else dict(before.places)

    def place(self, vector: bytes) -> int:
        """Where a vector begins, in numbers; it is added if it is new."""
        if vector not in self.places:
            self.places[vector] = (len(self.before) + len(self.own)) // 4
            self.own += vector
        return self.places[vector]


def _part(templates: dict[str, Template], words: _Words, pattern: bytes, members: dict[str, bytes]) -> bytes:
    """The archive of files that share rows of the plan and words."""
    rows: list[dict[str, Any]] = []
    files: list[dict[str, Any]] = []
    for name, template in templates.items():
        for vector in _vectors(template.graph):
            words.place(vector)
        files.append({"name": name, "graph": len(template.graph), "tail": len(template.tail), "copies": []})
        for copy in template.copies:
            row = {key: value for key, value in copy._asdict().items() if key != "offset"}
            if copy.factor is not None:
                count = copy.shape[copy.axis]
                row["factor"] = words.place(template.factors[copy.factor : copy.factor + count].astype("<f4").tobytes())
            if row not in rows:
                rows.append(row)
            files[-1]["copies"].append(rows.index(row))
    source, literals = words.before + words.own + pattern, b""
    for file, template in zip(files, templates.values(), strict=True):
        data = template.graph + template.tail
        file["pieces"], own = pieces(data, source)
        source, literals = source + data, literals + own
    planes = np.frombuffer(words.own, np.uint8).reshape(-1, 4).T.tobytes()
    text = json.dumps({"files": files, "copies": rows}, separators=(",", ":"))
    return _zipped({**members, WORDS: planes, PLAN: text.encode(), LITERALS: literals})


def _vectors(graph: bytes) -> list[bytes]:
    """The constants and the int8 scales of a graph: vectors of four-byte numbers."""
    model = read(graph)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    constants = [buffer.DataAsNumpy().tobytes() if buffer.DataLength() else b"" for buffer in buffers]
    metadata = {constants[model.Metadata(i).Buffer()] for i in range(model.MetadataLength())}
    subgraph = model.Subgraphs(0)
    quantizations = [subgraph.Tensors(i).Quantization() for i in range(subgraph.TensorsLength())]
    scales = [found.ScaleAsNumpy().tobytes() for found in quantizations if found is not None and found.ScaleLength()]
    found = [*constants, *scales]
    return [data for data in found if len(data) >= SMALLEST and len(data) % 4 == 0 and data not in metadata]


def _pattern(template: Template) -> bytes:
    """A file's graph without its vectors, then its tail."""
    graph = template.graph
    for vector in sorted(_vectors(graph), key=len, reverse=True):
        graph = graph.replace(vector, b"", 1)
    return graph + template.tail


def pieces(data: bytes, source: bytes) -> tuple[list[list[int]], bytes]:
    """Data as copies from a source and bytes of its own.

    Args:
        data: to make.
        source: to copy from.

    Returns:
        Pieces [own, skip, copied]: so many bytes of its own, then so many of the source, ``skip`` behind the last byte
        that was copied; and the bytes of its own, one behind another.
    """
    starts: dict[bytes, list[int]] = {}
    for at in range(0, len(source) - SMALLEST + 1, STEP):
        starts.setdefault(source[at : at + SMALLEST], []).append(at)
    found, literals, place, at, own = [], [], 0, 0, 0  # place: behind the last copied byte
    while at < len(data):
        ahead = place + own  # goes on beside what was copied last
        length, best = _equal(data, at, source, ahead), ahead
        if length < SMALLEST:
            for start in starts.get(data[at : at + SMALLEST], [])[:8]:
                length, best = max((length, best), (_equal(data, at, source, start), start))
        if at + length < len(data):
            length -= length % STEP  # the next place is looked up
        if length < (STEP if best == ahead else SMALLEST):
            own += STEP
            literals.append(data[at : at + STEP])
            at += STEP
            continue
        found.append([own, best - place, length])
        at, place, own = at + length, best + length, 0
    if own:
        found.append([len(b"".join(literals)) - sum(piece[0] for piece in found), 0, 0])
    return found, b"".join(literals)


def _equal(data: bytes, at: int, source: bytes, start: int) -> int:
    """How many bytes are equal from two places on."""
    most, length, step = min(len(data) - at, len(source) - start), 0, 1 << 14
    while step and length < most:
        end = min(length + step, most)
        if data[at + length : at + end] == source[start + length : start + end]:
            length = end
        else:
            step //= 4
    return length


def _zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():  # ZipInfo: no time of day, equal files give equal bytes
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, compresslevel=9)
    return content.getvalue()
