"""Damaged bundles, their hashes made to match again or not: refused with one clear error, or run within bounds."""

import copy
import hashlib
import io
import json
import zipfile

import numpy as np
import pytest
import shared
from damaged import as_file, as_version_2, parts_of
from fuzz import fuzz
from helpers import images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ds_keras.runtime import Bundle, Session
from ds_keras.runtime.manifest import MAX_COPIES, check_manifest, checked_plan
from ds_keras.runtime.template import lent, shared_template

X = images(2)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """The parts of a bundle by format version."""
    path = shared.bundle("labelled", tmp_path_factory)
    return {2: as_version_2(path), 3: parts_of(path)}


@pytest.fixture(scope="module", params=[2, 3], ids="version {}".format)
def parts(versions, request):
    return versions[request.param]


def write(directory, parts, rehash):
    if rehash:
        manifest = json.loads(parts["bundle.json"])
        for name, part in manifest["parts"].items():
            part |= {"bytes": len(parts[name]), "sha256": hashlib.sha256(parts[name]).hexdigest()}
        parts = {**parts, "bundle.json": json.dumps(manifest).encode()}
    directory.mkdir(exist_ok=True)
    for name, data in parts.items():
        (directory / name).write_bytes(data)
    return directory


def run_all(path):
    session = Session(path)
    for name in session.bundle.files:
        session.bundle.file(name)
    return [session.run(X, policy=policy).logits for policy in (0, 1, 2, "gate", "cascade")]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.integers(0, 99),
    position=st.floats(0, 0.999),
    bit=st.integers(0, 7),
    cut=st.booleans(),
    rehash=st.booleans(),
)
def test_flipped_bits_and_truncated_parts(parts, tmp_path, name, position, bit, cut, rehash):
    name = sorted(parts)[name % len(parts)]
    data = bytearray(parts[name])
    at = int(position * len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    try:
        path = write(tmp_path / "bundle", {**parts, name: bytes(data)}, rehash)
    except (KeyError, ValueError):
        return  # bundle.json is no JSON any more, or names another part: nothing to rehash
    try:
        logits = run_all(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:  # a bit of what no file is made of: a label, a knob, a ZIP's date
        assert rehash or name == "bundle.json"
        assert all(np.isfinite(row).all() for row in logits)


def test_another_image_shape_is_refused_on_opening(parts, tmp_path):
    manifest = json.loads(parts["bundle.json"])
    manifest["image_shape"] = [9, 8, 1]
    path = write(tmp_path / "bundle", {**parts, "bundle.json": json.dumps(manifest).encode()}, rehash=True)
    with pytest.raises(ValueError, match=r"must take images of shape \(9, 8, 1\), it takes \(8, 8, 1\)"):
        Session(path)


def test_a_changed_kernel_under_its_own_hash_is_refused(parts, tmp_path):
    data = bytearray(parts["kernels.bin"])
    data[3] ^= 0x40
    path = write(tmp_path / "bundle", {**parts, "kernels.bin": bytes(data)}, rehash=True)
    with pytest.raises(ValueError, match=r"(route|entry_\d) is damaged: what its parts make is not the published file"):
        run_all(path)


@pytest.mark.parametrize("name", ["route.zip", "kernels.bin", "a level"])
def test_the_damaged_part_is_named(parts, tmp_path, name):
    name = next(part for part in ("level_0.zip", "entry_0.zip") if part in parts) if name == "a level" else name
    data = bytearray(parts[name])
    data[len(data) // 2] ^= 1
    path = write(tmp_path / "bundle", {**parts, name: bytes(data)}, rehash=False)
    with pytest.raises(ValueError, match=f"{name} is damaged: its size or sha256"):
        run_all(path)
    (path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        run_all(path)


def test_a_level_does_not_answer_for_the_route(versions, tmp_path):
    """Every level borrows from the route's part: it is the one to name, and an opened bundle may have lost it."""
    content, parts = io.BytesIO(), versions[3]
    with zipfile.ZipFile(io.BytesIO(parts["route.zip"])) as old, zipfile.ZipFile(content, "w", 8) as new:
        for member in old.namelist():
            new.writestr(member, b"x" if member == "words.bin" else old.read(member))
    path = write(tmp_path / "bundle", {**parts, "route.zip": content.getvalue()}, rehash=True)
    with pytest.raises(ValueError, match="bundle: route.zip is damaged: .* words.bin of whole numbers"):
        Bundle(path).file("entry_1")


WRONG = {
    "format": ["other", None, 3],
    "format_version": [1, 4, "3", None, True, 3.0],
    "image_shape": [[8, 8], [8, -8, 1], [8, 8, 1 << 40], "888", None, [8, 8, True]],
    "num_classes": [1, -3, 1 << 40, "3"],
    "labels": [["a"], "abc", [1, 2, 3]],
    "parts": [[], {"../up": {"bytes": 1, "sha256": "0" * 64}}, {"route.zip": {"bytes": -1, "sha256": "0" * 64}}],
    "kernels": [{}, {"part": "x"}, None],
    "files": [{}, {"route": {"part": "/etc/passwd", "size": 1, "sha256": "0" * 64}}, [], None],
    "madds": [{}, {"start": -1, "gate": 0, "body": [1, 2, 3]}, {"start": 0, "gate": 0, "body": [1, 2, 0]}],
    "policy": [{}, {"default": "oracle"}, {"default": 9}],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_wrong_values_in_the_manifest(parts, tmp_path, key, value):
    manifest = {**json.loads(parts["bundle.json"]), key: value}
    path = write(tmp_path / "bundle", {**parts, "bundle.json": json.dumps(manifest).encode()}, rehash=False)
    with pytest.raises(ValueError, match="bundle.json is not that of a ds_keras.bundle"):
        Session(path)
    del manifest[key]
    with pytest.raises((KeyError, ValueError)):
        check_manifest(manifest)


@pytest.mark.parametrize(
    "change",
    [
        {"kernel": "other"},
        {"begin": [-1, 0, 0, 0]},
        {"begin": [1, 0, 0, 0]},
        {"shape": [1 << 30, 1 << 30, 1, 1]},
        {"shape": [0, 1, 1, 1]},
        {"axis": 4},
        {"factor": 1 << 20},
        {"factor": -1},
        {"offset": 0},
        {"offset": 1 << 40},
        {"offset": 1.5},
        {"offset": 1 << 16},
        {"unknown": 1},
    ],
)
def test_plans_that_reach_outside(versions, change):
    parts = versions[2]
    kernels = json.loads(parts["bundle.json"])["kernels"]
    with zipfile.ZipFile(io.BytesIO(parts["entry_2.zip"])) as archive:
        plan, graph = json.loads(archive.read("plan.json")), len(archive.read("graph.tflite"))
        factors, tail = len(archive.read("factors.bin")) // 4, len(archive.read("tail.bin"))
    end = json.loads(parts["bundle.json"])["files"]["entry_2"]["size"] - tail
    assert tail > 0
    assert len(checked_plan(plan, kernels, graph, factors, end)) == len(plan)
    for row in range(len(plan)):
        wrong = copy.deepcopy(plan)
        wrong[row] |= change
        if wrong != plan:
            with pytest.raises((TypeError, ValueError)):
                checked_plan(wrong, kernels, graph, factors, end)
    with pytest.raises(ValueError, match="each kernel once"):
        checked_plan([*plan, plan[0]], kernels, graph, factors, end)
    small = {"dtype": "float32", "index": {"only": [0, [16, 1]]}}
    row = {"kernel": "only", "begin": [0, 0], "shape": [16, 1], "axis": 1, "factor": None}
    assert len(checked_plan([row] * MAX_COPIES, small, 64, 0, 64 + 64 * MAX_COPIES, repeated=True)) == MAX_COPIES
    with pytest.raises(ValueError, match="each kernel at most 16 times"):  # else little data asks for a large file
        checked_plan([row] * 17, small, 64, 0, 64 + 64 * 17, repeated=True)
    with pytest.raises(ValueError, match="a plan that ends with the kernels"):
        checked_plan(plan[:-1], kernels, graph, factors, end)


@pytest.mark.parametrize(
    "change",
    [
        {"graph": 0},
        {"graph": 1 << 40},
        {"graph": True},
        {"tail": -1},
        {"tail": 1 << 30},
        {"name": "other"},
        {"name": []},
        {"pieces": []},
        {"pieces": None},
        {"pieces": [[1, 0]]},
        {"pieces": [[0, 0, 1 << 40]]},
        {"pieces": [[0, 1 << 40, 1]]},
        {"pieces": [[0, -1, 1]]},
        {"pieces": [[1 << 40, 0, 0]]},
        {"pieces": [[0, 0.0, 1]]},
        {"pieces": [[-1, 0, 1]]},
        {"copies": [1 << 20]},
        {"copies": [-1]},
        {"copies": [0, 0]},
        {"copies": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("file", ["route", "entry_1", "body_1"])
def test_pieces_that_reach_outside(versions, file, change):
    """In the plan of a bundle of version 3."""
    parts, part = versions[3], "route.zip" if file == "route" else "level_1.zip"
    manifest = json.loads(parts["bundle.json"])
    sizes = {name: entry["size"] for name, entry in manifest["files"].items()}

    def read(content):
        level = None if file == "route" else content
        route = content if level is None else parts["route.zip"]
        return shared_template(lent(route), route, level, file, sizes, manifest["kernels"])

    with zipfile.ZipFile(io.BytesIO(parts[part])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    plan = json.loads(members["plan.json"])
    assert read(parts[part]).size == sizes[file]
    (entry,) = (entry for entry in plan["files"] if entry["name"] == file)
    entry |= change
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in {**members, "plan.json": json.dumps(plan).encode()}.items():
            archive.writestr(name, data)
    with pytest.raises((TypeError, ValueError)):
        read(content.getvalue())


@pytest.mark.parametrize("name", ["entry_1", "other"])
def test_a_part_of_many_files_is_refused_before_they_are_made(versions, name):
    """Each file may be as large as all before it: a plan of some kilobytes could ask for terabytes."""
    parts = versions[3]
    manifest = json.loads(parts["bundle.json"])
    sizes = {entry: 2**31 - 1 for entry in manifest["files"]}
    with zipfile.ZipFile(io.BytesIO(parts["level_1.zip"])) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    plan = json.loads(members["plan.json"])
    (entry,) = (file for file in plan["files"] if file["name"] == "entry_1")
    plan["files"] = [entry] * 1000
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for member, data in {**members, "plan.json": json.dumps(plan).encode()}.items():
            archive.writestr(member, data)
    with pytest.raises(ValueError, match="at most 2 files in a part, received 1000"):
        route = parts["route.zip"]
        shared_template(lent(route), route, content.getvalue(), name, sizes, manifest["kernels"])


def test_the_rows_of_a_budget_table_rise(parts):
    manifest = json.loads(parts["bundle.json"])
    knobs = len(manifest["policy"]["cascade"]) - 1
    manifest["policy"]["budget_table"] = {"cascade": [[[0.1] * knobs, 5.0, 0.9], [[0.2] * knobs, 4.0, 0.8]]}
    with pytest.raises(ValueError, match="by rising MAdds"):
        check_manifest(manifest)


BOMBS = {2: ("entry_0.zip", "graph.tflite"), 3: ("level_0.zip", "words.bin")}


@pytest.mark.parametrize("version", BOMBS)
def test_a_deflate_bomb_is_refused_before_it_is_unpacked(versions, tmp_path, version):
    part, member = BOMBS[version]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("graph.tflite", "plan.json", "factors.bin", "tail.bin", "words.bin", "literals.bin"):
            archive.writestr(name, bytes(40 << 20))
    path = write(tmp_path / "bundle", {**versions[version], part: content.getvalue()}, rehash=True)
    with pytest.raises(ValueError, match=f"{part} is damaged: {member} is damaged: {40 << 20} bytes, at most"):
        run_all(path)


@pytest.mark.parametrize(
    ("version", "part", "name"),
    [
        (2, "body_0.zip", "graph.tflite"),
        (2, "body_0.zip", "tail.bin"),
        (3, "level_0.zip", "words.bin"),
        (3, "level_0.zip", "plan.json"),
        (3, "level_0.zip", "literals.bin"),
        (3, "route.zip", "pattern.bin"),
    ],
)
def test_a_member_is_bounded_whatever_its_file_declares(versions, tmp_path, version, part, name):
    """The manifest may say two gigabytes, under hashes that match."""
    parts = versions[version]
    content, manifest = io.BytesIO(), json.loads(parts["bundle.json"])
    with zipfile.ZipFile(io.BytesIO(parts[part])) as old, zipfile.ZipFile(content, "w", 8, compresslevel=1) as new:
        for member in old.namelist():
            new.writestr(member, bytes(80 << 20) if member == name else old.read(member))
    manifest["files"]["body_0"]["size"] = 2**31 - 1
    changed = {**parts, part: content.getvalue(), "bundle.json": json.dumps(manifest).encode()}
    path = write(tmp_path / "bundle", changed, rehash=True)
    with pytest.raises(ValueError, match=f"zip is damaged: {name} is damaged: {80 << 20} bytes, at most"):
        Bundle(path).file("body_0")


@pytest.mark.parametrize("data", [b"", b"PK", b"x" * 1000])
def test_files_that_are_no_archive(tmp_path, data):
    (tmp_path / "x.dsbundle").write_bytes(data)
    with pytest.raises(ValueError, match="is not a bundle, or a damaged one"):
        Session(tmp_path / "x.dsbundle")
    with zipfile.ZipFile(tmp_path / "x.tflite", "w") as archive:  # as a TFLite file with metadata is
        archive.writestr("labels.txt", data)
    with pytest.raises(ValueError, match="x.tflite is not a bundle, or a damaged one: bundle.json is missing"):
        Session(tmp_path / "x.tflite")
    with pytest.raises(ValueError, match="nothing' does not exist"):
        Session(tmp_path / "nothing")


def test_an_archive_with_paths_writes_nothing(parts, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.dsbundle", "w") as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        archive.writestr("../../outside", b"x")
    run_all(tmp_path / "x.dsbundle")
    session = Session(tmp_path / "x.dsbundle", cache_dir=tmp_path / "cache")
    session.materialize()
    assert {file.name for file in tmp_path.iterdir()} == {"x.dsbundle", "cache"}


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["bundle.json", "route.zip", "level_1.zip", "one file"])
def test_fuzz(versions, tmp_path, what, count):
    """Damaged bytes, under hashes that match again where that can be; every file is made, none is run."""
    parts, single = versions[3], tmp_path / "bundle.dsbundle"
    as_file(single, parts)

    def read(data):
        path = single
        if what == "one file":
            path.write_bytes(data)
        else:
            path = write(tmp_path / "bundle", {**parts, what: data}, rehash=what != "bundle.json")
        bundle = Bundle(path)
        for name in ("route", "entry_1", "body_1"):
            bundle.file(name)

    fuzz(read, [single.read_bytes() if what == "one file" else parts[what]], count, names="bundle")
