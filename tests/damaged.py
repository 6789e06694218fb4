"""Damaged bundles for the tests of their readers, and the bundles' parts in both forms."""

import hashlib
import io
import json
import random
import struct
import zipfile
from typing import NamedTuple

import numpy as np

from ds_keras.runtime import Bundle
from ds_keras.runtime.manifest import file_names
from ds_keras.runtime.materialize import materialize
from ds_keras.runtime.template import (
    FACTORS,
    GRAPH,
    LITERALS,
    PLAN,
    TAIL,
    lent,
    separate_template,
    shared_template,
)

PART = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
NUMBERS = [-1, 0, 1 << 31, 1 << 40, 1 << 70, 1.5, "1", None, True, [], 1e400]
NAMES = ["../outside", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "bundle.json", "a\0b", "x" * 101, "bundle.json/"]
KNOBS = [None, "1", [], {}, 0.5, [0.5, 0.5], [[0.5]], [None], ["1"], [True], [1e400], [10**400], [1 << 70], [-1]]
ROWS = [
    *[[knobs, 1, 1] for knobs in KNOBS],
    [[0.5], 1],
    [[0.5], None, 1],
    [[0.5], 1, True],
    [[0.5], 1e400, 1],
    *[[[0.5], 1, 1, passes] for passes in (None, 1, [], [1, 0], [1, 0, 2], [-1, 0, 0], [1, 0, True], [0.5, 0, 1])],
    [[0.5], 1, 1, [1, 0, 0], 1],
    None,
    {},
]
VALUES = [  # of bundle.json; the cascade is that of two levels, 0 and 2
    *[(["parts", name], PART) for name in NAMES],
    *[(["files", "body_0", "part"], name) for name in NAMES],
    *[(["kernels", "part"], name) for name in (*NAMES, "route.zip", "entry_0.zip")],
    *[
        (keys, number)
        for keys in (["files", "entry_1", "size"], ["parts", "kernels.bin", "bytes"])
        for number in NUMBERS
    ],
    *[
        (["madds", key], number)
        for key in ("start", "gate", "body")
        for number in NUMBERS
        if number not in (0, 1 << 40)
    ],
    *[(["policy", "default"], number) for number in (-1, 3, True, None, "oracle", 1.0)],
    *[(["policy", "cascade"], levels) for levels in ([2, 0], [1, 1], [1, 2], [0], [], [0, 3], [-1, 2], [0, 1, 2])],
    *[(["policy", "cascade"], levels) for levels in ([0, True], [0, 2.0], ["0", 2], "02", None, {}, [0, 1 << 70])],
    *[(["policy", "knobs", policy], knobs) for policy in ("gate", "cascade", "levels") for knobs in KNOBS],
    *[(["policy", "knobs"], knobs) for knobs in (None, [], {}, {"gate": [0.5]}, {"gate": [0.5], "levels": [0.5]})],
    *[(["policy", "budget_table"], {policy: [row]}) for policy in ("gate", "cascade", "levels") for row in ROWS],
    *[(["policy", "budget_table"], table) for table in ([], None, {"gate": {}}, {"oracle": []}, {"gate": []})],
    *[(["policy", "budget_table"], {"gate": [[[0], a, 1], [[0], b, 1]]}) for a, b in ((1, 2), (2, 2), (2, 1))],
    *[(["image_shape"], value) for value in ([8, 8], [8, -8, 1], "888", [8, 8, True], [1 << 17, 8, 1])],
    *[(["labels"], value) for value in (["a"], "abc", [1, 2, 3])],
    *[(["licence"], value) for value in (1, [], True)],
    *[(["kernels", "dtype"], value) for value in ("float64", "float16", None, [])],
    *[(["files"], files) for files in ([], None, {}, {"route": PART})],
    *[(["files", name], PART) for name in ("body_1", "body_3", "entry_03", "route")],
]
CHANGES = [  # of a row of a plan
    *[{"offset": value} for value in (0, -64, 1, 1 << 20, 1 << 31, 1 << 62, 1.5, None)],
    *[{"begin": value} for value in ([-1, 0, 0, 0], [1 << 31, 0, 0, 0], [0], None, [0.0, 0, 0, 0])],
    *[{"shape": value} for value in ([1 << 30] * 4, [0, 1, 1, 1], [1 << 62] * 4, [-1, -1, 1, 1], [1], "1111")],
    *[{"factor": value} for value in (-1, 1 << 20, 1 << 62, True, 0.5)],
    *[{"axis": value} for value in (4, -1, None)],
    {"kernel": "other"},
    {"kernel": None},
    {"unknown": 1},
]


class Sample(NamedTuple):
    """A damaged bundle.

    Args:
        what: was done to it.
        content: its parts, or the bytes of a single file.
        rehashed: what was damaged has a hash that matches again.
        archive: a ZIP's own fields may be damaged, which Java reads some of more strictly: see android/README.md.
    """

    what: str
    content: dict[str, bytes] | bytes
    rehashed: bool = False
    archive: bool = False


def parts_of(directory):
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def as_directory(path, parts):
    path.mkdir()
    for name, data in parts.items():
        (path / name).write_bytes(data)


def as_file(path, parts):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data)


def rehashed(parts):
    """The same parts under sizes and hashes that match."""
    manifest = json.loads(parts["bundle.json"])
    for name, part in manifest["parts"].items():
        part |= {"bytes": len(parts[name]), "sha256": hashlib.sha256(parts[name]).hexdigest()}
    return {**parts, "bundle.json": json.dumps(manifest).encode()}


def with_manifest(parts, keys, value):
    """Changes one value of ``bundle.json``."""
    manifest = json.loads(parts["bundle.json"])
    inner = manifest
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return {**parts, "bundle.json": json.dumps(manifest).encode()}


def _damaged(rng, data):
    """A flipped bit, a truncation, or four bytes that make a negative or huge number."""
    data, way = bytearray(data), rng.random()
    at = rng.randrange(len(data))
    if way < 0.3:
        return bytes(data[:at]) or b"x"
    if way < 0.6:
        data[at : at + 4] = _number(rng)
    else:
        data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def _number(rng):
    return struct.pack("<I", rng.choice([0, 1, 0xFFFF, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]))


def _members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def as_version_2(path):
    """The parts of a bundle as version 2 had them: one for each file."""
    bundle, manifest = Bundle(path), json.loads((path / "bundle.json").read_text())
    parts = {"kernels.bin": (path / "kernels.bin").read_bytes()}
    for name in bundle.files:
        template = bundle.template(name)
        plan = json.dumps([copy._asdict() for copy in template.copies]).encode()
        members = {GRAPH: template.graph, PLAN: plan, FACTORS: template.factors.tobytes(), TAIL: template.tail}
        parts[f"{name}.zip"] = _zipped(members)
        manifest["files"][name]["part"] = f"{name}.zip"
    manifest |= {"format_version": 2, "parts": {name: {} for name in parts}}
    return rehashed({**parts, "bundle.json": json.dumps(manifest).encode()})


def part_of(parts, file):
    """The part of a file."""
    return json.loads(parts["bundle.json"])["files"][file]["part"]


def template_of(parts, file):
    """A file's template, read without a look at any hash."""
    manifest = json.loads(parts["bundle.json"])
    files, kernels = manifest["files"], manifest["kernels"]
    part, route = (files[name]["part"] for name in (file, "route"))
    if manifest["format_version"] == 2:
        return separate_template(parts[part], files[file]["size"], kernels)
    sizes = {name: entry["size"] for name, entry in files.items()}
    own = None if part == route else parts[part]
    return shared_template(lent(parts[route]), parts[route], own, file, sizes, kernels)


def _with_row(rng, parts, part, change):
    """Changes a row of the plan of a part."""
    members = _members(parts[part])
    plan = json.loads(members[PLAN])
    rows = plan if isinstance(plan, list) else plan["copies"]
    rows[rng.randrange(len(rows))] |= change
    return rehashed({**parts, part: _zipped({**members, PLAN: json.dumps(plan).encode()})})


def _with_pieces(rng, parts, part):
    """Changes a number of the pieces of a file, or its sizes; for a bundle of version 3."""
    members = _members(parts[part])
    plan = json.loads(members[PLAN])
    file, value = rng.choice(plan["files"]), rng.choice([*NUMBERS, -5, 3, 4, 1 << 20])
    if rng.random() < 0.1:
        plan["files"] *= 2
        what = "each file twice"
    elif rng.random() < 0.3:
        key = rng.choice(["graph", "tail", "pieces", "copies", "name"])
        file[key] = rng.choice([value, [], None, "entry_1", [[1, 2]], [[0, 0, 1 << 40]], [99999]])
        what = f"{key} = {file[key]!r}"
    else:
        piece = rng.choice(file["pieces"])
        piece[rng.randrange(3)] = value
        what = f"a piece {piece}"
    content = json.dumps(plan).encode()
    return f"{part}: {what}", _with(parts, part, {**members, PLAN: content})


def _with_member(rng, parts, file):
    """Damages a member of a part, and makes all hashes match: those of the files it makes too, where it makes them."""
    part = part_of(parts, file)
    members = _members(parts[part])
    name = rng.choice(sorted(name for name, data in members.items() if data))
    return f"{part}: {name} damaged", _with(parts, part, {**members, name: _damaged(rng, members[name])})


def _with(parts, part, members):
    """A part of other members, under hashes that match."""
    parts, manifest = {**parts, part: _zipped(members)}, json.loads(parts["bundle.json"])
    files, kernels, views = manifest["files"], manifest["kernels"], {}
    for key, (offset, shape) in kernels["index"].items():
        views[key] = np.frombuffer(parts["kernels.bin"], "float32", int(np.prod(shape)), offset).reshape(shape)
    for file, entry in files.items():
        if part not in (entry["part"], files["route"]["part"]):
            continue
        try:
            data = materialize(template_of(parts, file), views)
        except Exception:  # what zipfile raises has no common type
            data = b""
        entry["sha256"] = hashlib.sha256(data).hexdigest()
    return rehashed({**parts, "bundle.json": json.dumps(manifest).encode()})


def with_graph(parts, file, change):
    """Another graph of a file, of the same length, under hashes that match.

    Args:
        parts: of a float32 bundle.
        file: name.
        change: from the graph's bytes to others.
    """
    part = part_of(parts, file)
    members = _members(parts[part])
    if GRAPH in members:
        return _with(parts, part, {**members, GRAPH: change(members[GRAPH])})
    plan, literals = json.loads(members[PLAN]), b""
    for entry in plan["files"]:  # all of it its own
        template = template_of(parts, entry["name"])
        graph = change(template.graph) if entry["name"] == file else template.graph
        entry["pieces"] = [[len(graph) + len(template.tail), 0, 0]]
        literals += graph + template.tail
    return _with(parts, part, {**members, PLAN: json.dumps(plan).encode(), LITERALS: literals})


def damaged_graphs(parts, seed, count):
    """Bundles under hashes that match, in one file of which LiteRT's graph is damaged in one to four places."""
    rng = random.Random(seed)
    for _ in range(count):
        yield with_graph(parts, rng.choice(file_names(3)), lambda graph: damaged_graph(rng, graph, len(graph)))


def damaged_graph(rng, data, length):
    """Damages the first bytes of a file in one to four places."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(length - 4)
        if rng.random() < 0.5:
            data[at : at + 4] = _number(rng)
        else:
            data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def _with_header(rng, parts, part):
    """Damages a header of a template's archive, or gives a member a name that is a path."""
    if rng.random() < 0.2:
        members, name = _members(parts[part]), rng.choice([name for name in NAMES if name])
        members[name] = members.pop(rng.choice(sorted(members)))
        return f"{part}: a member {name!r}", rehashed({**parts, part: _zipped(members)})
    data = bytearray(parts[part])
    signature = rng.choice([b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"])
    starts = [at for at in range(len(data)) if data[at : at + 4] == signature]
    at = rng.choice(starts) + rng.randrange(4, 44 if signature == b"PK\x01\x02" else 20)
    data[at : at + 4] = _number(rng)
    return f"{part}: byte {at}, a header, damaged", rehashed({**parts, part: bytes(data)})


def every_value(parts):
    """A bundle for each of ``VALUES``."""
    for keys, value in VALUES:
        yield Sample(f"{keys} = {value!r}", with_manifest(parts, keys, value))


def samples(parts, seed, count):
    """Damaged bundles, an eighth of them of each kind; half of them have hashes that match again."""
    rng = random.Random(seed)
    inner, shared = sorted(set(parts) - {"bundle.json"}), "level_0.zip" in parts
    for i in range(count):
        kind, file = i % 8, rng.choice(file_names(3))
        part = part_of(parts, file)
        if kind == 0:
            name = rng.choice(sorted(parts))
            yield Sample(f"{name} damaged", {**parts, name: _damaged(rng, parts[name])})
        elif kind == 1:
            name = rng.choice(inner)
            found, content = rehashed({**parts, name: _damaged(rng, parts[name])}), io.BytesIO()
            as_file(content, found)
            found = content.getvalue() if rng.random() < 0.5 else found
            yield Sample(f"{name} damaged", found, rehashed=True, archive=True)
        elif kind == 2:
            keys, value = rng.choice(VALUES)
            yield Sample(f"{keys} = {value!r}", with_manifest(parts, keys, value))
        elif kind == 3 and shared and rng.random() < 0.5:
            yield Sample(*_with_pieces(rng, parts, part), rehashed=True)
        elif kind == 3:
            change = rng.choice(CHANGES)
            yield Sample(f"{part}: {change}", _with_row(rng, parts, part, change), rehashed=True)
        elif kind == 4:
            index = json.loads(parts["bundle.json"])["kernels"]["index"]
            key, value = rng.choice(sorted(index)), rng.choice([*NUMBERS, 32, 64, 1 << 20])
            changed = [value, index[key][1]] if rng.random() < 0.5 else [index[key][0], [value, *index[key][1][1:]]]
            yield Sample(f"{key}: {changed}", with_manifest(parts, ["kernels", "index", key], changed))
        elif kind == 5:
            content = io.BytesIO()
            as_file(content, parts)
            yield Sample("the single file damaged", _damaged(rng, content.getvalue()), archive=True)
        elif kind == 6:
            yield Sample(*_with_member(rng, parts, file), rehashed=True)
        else:
            yield Sample(*_with_header(rng, parts, part), rehashed=True, archive=True)


def with_another_class(parts, path, policy=None):
    """Writes a bundle that names a class more than its graphs have; the number that they have."""
    manifest = json.loads(parts["bundle.json"])
    classes = manifest["num_classes"]
    manifest |= {"num_classes": classes + 1, "labels": None}
    if policy is not None:
        manifest["policy"]["default"] = policy
    as_directory(path, {**parts, "bundle.json": json.dumps(manifest).encode()})
    return classes
