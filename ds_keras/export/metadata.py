"""TFLite metadata, as Android's and MediaPipe's readers know it: input, normalisation, labels, licence and level.

The package that used to write it does not install on today's Python; the tables below are its schema (version 1.1.0).
"""

import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np

from ds_keras import __version__
from ds_keras.export.flatbuffer import litert, repacked, unpacked

if TYPE_CHECKING:
    from ds_keras.core.network import SliceableNetwork

NAME, OWN = "TFLITE_METADATA", "ds_keras"  # of the entries in the file
LABELS = "labels.txt"
RGB, GREY = 1, 2  # ColorSpaceType
AXIS_LABELS = 2  # AssociatedFileType
IMAGE, NORMALISATION = 2, 1  # members of the unions ContentProperties and ProcessUnitOptions
STRING_FIELDS = {"name": 0, "description": 1, "version": 2, "author": 4, "license": 5, "min_parser_version": 7}


@dataclass(frozen=True)
class About:
    """What a file says of itself.

    Args:
        name: of the model.
        part: "whole", "entry", "route" or "body"; "dynamic" for the only file of a network without levels.
        level: None for "route" and "dynamic".
        levels: of the supernet.
        madds: multiply-adds of the file, at most.
        image_shape: (height, width, channels) of the images.
        labels: class names, or None.
        licence: of the weights, or None.
        results: names of what a level gives; the labels belong to the last one.
    """

    name: str
    part: str
    level: int | None
    levels: int
    madds: int
    image_shape: tuple[int, int, int]
    labels: tuple[str, ...] | None
    licence: str | None
    results: tuple[str, ...] = ("logits",)

    @property
    def description(self) -> str:
        """One line."""
        level, found = f"level {self.level} of 0..{self.levels - 1}", " and ".join(self.results)
        what = {
            "whole": level,
            "entry": f"{level}: images to {found}, and to the features that larger levels read",
            "route": "shared start and gate: images to features and gate logits",
            "body": f"body of {level}: features to {found}",
            "dynamic": "each image skips blocks and channels; at most",
        }[self.part]
        return f"{what}{' ' if self.part == 'dynamic' else '; '}{self.madds / 1e6:.3f} million multiply-adds"


def check_licence(licence: Any) -> None:
    """Refuses a licence that is neither None nor a string."""
    if not isinstance(licence, str | None):
        raise ValueError(f"licence must be a string or None, received {licence!r}")


def about(model: "SliceableNetwork", part: str, level: int | None = None, licence: str | None = None) -> About:
    """What the file of a part of a model should say.

    Args:
        model: supernet.
        part: "whole", "entry", "route" or "body".
        level: that "route" does not have, whatever is given.
        licence: of the weights, or None.

    Returns:
        ``About``.
    """
    level = None if part == "route" else level
    start, gate, body = model.costs[level or 0]
    madds = {"whole": start + body, "entry": start + body, "route": start + gate, "body": body}[part]
    labels = None if model.labels is None or part == "route" else tuple(model.labels)
    names = (model.name, part, level, len(model.levels), madds, model.image_shape, labels, licence)
    return About(*names, model.result_names)


def described(data: bytes, about: About) -> bytes:
    """A TFLite file with its metadata.

    Args:
        data: the file's bytes.
        about: what to say.

    Returns:
        The new file's bytes.
    """
    graph = unpacked(data)
    describe(graph, about)
    data = repacked(graph)
    return data + tail(about, len(data))


def describe(graph: Any, about: About) -> None:
    """Puts the metadata into a file's graph: the standard table, and "ds_keras", a JSON object with the level.

    Args:
        graph: of the file, see ``flatbuffer.unpacked``; changed.
        about: what to say.
    """
    schema = litert("schema_py_generated")
    own = {"part": about.part, "level": about.level, "levels": about.levels, "madds": about.madds}
    graph.metadata = list(graph.metadata or [])
    for name, data in ((NAME, _table(about, _outputs(graph))), (OWN, json.dumps(own).encode())):
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(data, np.uint8)
        entry.name, entry.buffer = name, len(graph.buffers)
        graph.buffers.append(buffer)
        graph.metadata.append(entry)
    graph.description = about.description


def tail(about: About, offset: int) -> bytes:
    """The files that belong to a file: a ZIP archive behind it, where readers look for the labels.

    Args:
        about: what the file says of itself.
        offset: bytes before the archive.

    Returns:
        The archive; nothing where there are no labels.
    """
    if about.labels is None:
        return b""
    content = io.BytesIO(bytes(offset))
    with zipfile.ZipFile(content, "a") as archive:
        text = "".join(f"{' '.join(label.split())}\n" for label in about.labels)  # a label is a line
        archive.writestr(zipfile.ZipInfo(LABELS), text)  # stored as it is: MediaPipe refuses a compressed one
    return content.getvalue()[offset:]


def _outputs(graph: Any) -> list[str]:
    """The names of a graph's outputs, in the order of its tensors, which readers go by: not that of the signature."""
    (signature,) = graph.signatureDefs
    subgraph = graph.subgraphs[signature.subgraphIndex]  # others are the branches of conditionals
    names = {output.tensorIndex: output.name.decode() for output in signature.outputs}
    return [names[index] for index in subgraph.outputs]


def _table(about: About, outputs: list[str]) -> bytes:
    """The ``ModelMetadata`` flatbuffer."""
    builder = flatbuffers.Builder(1024)
    images = about.part != "body"
    inputs = _tensor(builder, "images" if images else "features", _image(builder, about) if images else {})
    files = {}
    if about.labels is not None:
        file = _object(builder, 4, {0: builder.CreateString(LABELS)}, {2: AXIS_LABELS})
        files = {6: _vector(builder, [file])}
    tensors = [_tensor(builder, name, files if name == about.results[-1] else {}) for name in outputs]
    subgraph = _object(builder, 10, {2: _vector(builder, [inputs]), 3: _vector(builder, tensors)})
    texts = {
        "name": f"{about.name} {about.part}" + ("" if about.level is None else f" level {about.level}"),
        "description": about.description,
        "version": f"ds_keras {__version__}",
        "license": about.licence or "not stated",
        "min_parser_version": "1.0.0",
    }
    offsets = {STRING_FIELDS[field]: builder.CreateString(text) for field, text in texts.items()}
    builder.Finish(_object(builder, 8, {3: _vector(builder, [subgraph]), **offsets}), b"M001")
    return bytes(builder.Output())


def _image(builder: flatbuffers.Builder, about: About) -> dict[int, int]:
    """Content, process units and stats of the images: mean 0 and std 1, because the graph normalises."""
    height, width, channels = about.image_shape
    size = _object(builder, 2, {}, {}, {0: width, 1: height})
    properties = _object(builder, 2, {1: size}, {0: RGB if channels == 3 else GREY})
    content = _object(builder, 3, {1: properties}, {0: IMAGE})
    numbers = {value: builder.CreateNumpyVector(np.array([value], "float32")) for value in (0, 1, 255)}
    options = _object(builder, 2, {0: numbers[0], 1: numbers[1]})
    unit = _object(builder, 2, {1: options}, {0: NORMALISATION})
    stats = _object(builder, 2, {0: numbers[255], 1: numbers[0]})
    return {3: content, 4: _vector(builder, [unit]), 5: stats}


def _tensor(builder: flatbuffers.Builder, name: str, fields: dict[int, int]) -> int:
    return _object(builder, 7, {0: builder.CreateString(name), **fields})


def _object(
    builder: flatbuffers.Builder,
    count: int,
    offsets: dict[int, int],
    bytes_: dict[int, int] | None = None,
    integers: dict[int, int] | None = None,
) -> int:
    """A table of ``count`` fields: offsets of other values, single bytes and unsigned integers, by position."""
    builder.StartObject(count)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (bytes_ or {}).items():
        builder.PrependUint8Slot(slot, value, 0)
    for slot, value in (integers or {}).items():
        builder.PrependUint32Slot(slot, value, 0)
    return builder.EndObject()


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
