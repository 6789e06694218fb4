"""The Java reader of bundles against the Python one: equal files, equal refusals, equal routing."""

import hashlib
import io
import json
import random
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import nano

from ds_keras import export, zoo
from ds_keras.policies import knob_at
from ds_keras.runtime import Bundle
from ds_keras.runtime.materialize import Copy, Template, materialize

pytestmark = pytest.mark.skipif(
    shutil.which("javac") is None or shutil.which("java") is None, reason="needs a JDK: javac and java on the PATH"
)

READER = Path(__file__).parent.parent / "android" / "reader" / "src"
PACKAGE = "io.github.dskeras.bundle."


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """The compiled reader, and the probe of these tests."""
    folder = tmp_path_factory.mktemp("classes")
    # -options: a JDK of the future may say that release 8 is old
    command = ["javac", "-Xlint:all,-options", "-Werror", "--release", "8", "-encoding", "UTF-8", "-d", folder]
    done = subprocess.run([*command, *sorted(READER.rglob("*.java"))], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def java(classes):
    """Runs a class of the reader; returns the exit status and the lines of both streams."""

    def run(*arguments, main="Main"):
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", classes, PACKAGE + main, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    return run


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Paths by name."""
    folder = tmp_path_factory.mktemp("bundles")
    paths = {
        "float32": export.to_bundle(nano(), folder / "nano"),
        "float16 file": export.to_bundle(nano(), folder / "half.dsbundle", "float16"),
        "digits": export.to_bundle(zoo.load("ds_mobilenet_digits"), folder / "digits"),
        "float32 file": folder / "nano.dsbundle",
        "float16": folder / "half",
    }
    as_file(paths["float32 file"], parts_of(paths["float32"]))
    with zipfile.ZipFile(paths["float16 file"]) as archive:
        as_directory(paths["float16"], {name: archive.read(name) for name in archive.namelist()})
    return paths


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


@pytest.mark.parametrize("name", ["float32", "float32 file", "float16", "float16 file", "digits"])
def test_equal_files(bundles, java, tmp_path, name):
    assert java("materialize", bundles[name], tmp_path / "out") == (0, [], [])
    bundle = Bundle(bundles[name])
    count = len(bundle.manifest["levels"])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [f"body_{k}.tflite" for k in range(count)]
    for level in range(count):
        assert (tmp_path / "out" / f"body_{level}.tflite").read_bytes() == bundle.level(level)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_any_slice_of_any_numbers(bundles, java, tmp_path, dtype):
    rng, width = np.random.default_rng(0), np.dtype(dtype).itemsize
    kernels, index, payload, copies, factors = {}, {}, b"", [], np.zeros(0, "float32")
    graph = rng.bytes(1001)
    end = len(graph)
    for i, (full, begin, shape, axis) in enumerate(
        [
            ((7, 5, 5, 6), (0, 1, 1, 0), (5, 3, 3, 4), 0),
            ((1, 5, 5, 9), (0, 2, 1, 3), (1, 2, 4, 5), 3),
            ((4, 3, 3, 2), (1, 0, 2, 1), (2, 3, 1, 1), 1),
            ((3, 4, 5, 6), (0, 1, 0, 2), (3, 2, 5, 4), None),
            ((20, 31), (0, 0), (13, 31), 0),
            ((20, 31), (3, 4), (17, 11), 1),
            ((2, 3), (0, 0), (1, 1), None),
        ]
    ):
        values = (rng.normal(size=full) * 2.0 ** rng.integers(-30, 20, full)).clip(-6e4, 6e4).astype(dtype)
        values.flat[:3] = [np.inf, -0.0, np.finfo(dtype).smallest_subnormal]
        payload += bytes(-len(payload) % 64)
        kernels[str(i)], index[str(i)] = values, [len(payload), full]
        payload += values.tobytes()
        end = -(-end // 64) * 64
        copies.append(Copy(str(i), begin, shape, axis or 0, None if axis is None else len(factors), end))
        end += int(np.prod(shape)) * width
        if axis is not None:
            factors = np.concatenate([factors, rng.normal(0, 3, shape[axis]).astype("float32")])
    with np.errstate(over="ignore"):
        expected = materialize(Template(graph, tuple(copies), factors, end), kernels)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("graph.tflite", graph)
        archive.writestr("plan.json", json.dumps([copy._asdict() for copy in copies]))
        archive.writestr("factors.bin", factors.astype("<f4").tobytes())
    parts = {**parts_of(bundles["float32"]), "kernels.bin": payload, "level_1.zip": content.getvalue()}
    manifest = json.loads(parts["bundle.json"])
    manifest["kernels"] = {"part": "kernels.bin", "dtype": dtype, "index": index}
    manifest["levels"][1] |= {"size": end, "sha256": hashlib.sha256(expected).hexdigest()}
    as_directory(tmp_path / "bundle", rehashed({**parts, "bundle.json": json.dumps(manifest).encode()}))
    assert java("level", tmp_path / "bundle", 1, tmp_path / "file") == (0, [], [])
    assert (tmp_path / "file").read_bytes() == expected


def test_one_level_and_bad_commands(bundles, java, tmp_path):
    target = tmp_path / "one.tflite"
    target.write_bytes(b"an older file")
    assert java("level", bundles["float32"], 1, target) == (0, [], [])
    assert target.read_bytes() == Bundle(bundles["float32"]).level(1)
    for arguments in (["level", bundles["float32"], 3, target], ["level", bundles["float32"], "x", target], []):
        status, out, error = java(*arguments)
        assert status == 2 and out == [] and len(error) == 1 and error[0].startswith("error: ")
    assert list(tmp_path.iterdir()) == [target]


def test_halves_are_numpys(java, tmp_path):
    every = np.arange(1 << 16, dtype=np.uint16)
    every.astype(">u2").tofile(tmp_path / "halves")
    assert java("widen", tmp_path / "halves", tmp_path / "wide", main="Probe")[0] == 0
    wide = np.fromfile(tmp_path / "wide", ">u4").astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(wide, every.view(np.float16).astype(np.float32))
    assert java("narrow", tmp_path / "wide", tmp_path / "back", main="Probe")[0] == 0
    back = np.fromfile(tmp_path / "back", ">u2").astype(np.uint16)
    number = ~np.isnan(wide)
    np.testing.assert_array_equal(back[number], every[number])
    assert np.isnan(back[~number].view(np.float16)).all()

    rng = np.random.default_rng(0)
    finite = np.sort(wide[np.isfinite(wide)])
    with np.errstate(over="ignore"):
        ties = (finite[1:] + finite[:-1]) / 2  # exact in float32
        near = [np.nextafter(ties, np.float32(side * np.inf)) for side in (-1, 1)]
        bits = rng.integers(0, 1 << 32, 20000, dtype=np.uint32).view(np.float32)  # mostly far outside
        normal = (rng.normal(size=20000) * 2.0 ** rng.integers(-30, 20, 20000)).astype(np.float32)
        edge = np.array([65519.99, 65520, -65520, np.inf, -np.inf, -0.0, 2**-25, 1e-45, np.nan], np.float32)
        floats = np.concatenate([ties, *near, bits, normal, edge])
        expected = floats.astype(np.float16)
    floats.view(np.uint32).astype(">u4").tofile(tmp_path / "floats")
    assert java("narrow", tmp_path / "floats", tmp_path / "narrow", main="Probe")[0] == 0
    found = np.fromfile(tmp_path / "narrow", ">u2").astype(np.uint16)
    number = ~np.isnan(floats)
    np.testing.assert_array_equal(found[number], expected.view(np.uint16)[number])
    assert np.isnan(found[~number].view(np.float16)).all()


def test_equal_routing(bundles, java):
    manifest = json.loads((bundles["digits"] / "bundle.json").read_text())
    madds, table, rng = manifest["madds"], manifest["policy"]["budget_table"], np.random.default_rng(0)
    body = np.array(madds["body"], "float64")
    arguments, expected = [], []
    for logits in rng.normal(size=(100, len(body))).astype("float32"):
        knob = float(rng.normal(0, 2))
        arguments += ["gate", knob, ",".join(map(str, logits))]
        expected.append(str(int(np.argmax(logits - np.float32(knob) * (body / body[-1])))))
        powers = np.exp(logits - logits.max())
        confidence = np.float32(powers.max() / powers.sum())
        for threshold in (confidence - np.float32(1e-6), confidence + np.float32(1e-6)):
            arguments += ["cascade", threshold, ",".join(map(str, logits))]
            expected.append(str(bool(confidence >= threshold)).lower())
    largest = madds["start"] + madds["body"][-1]
    for policy in ("gate", "cascade"):
        costs = [row[1] / largest for row in table[policy]]
        for fraction in [*np.linspace(costs[0], costs[-1], 40), *costs, costs[-1] + 1, 0.0]:
            arguments += ["budget", policy, float(fraction)]
            try:
                expected.append(knob_at(table, policy, largest, fraction=float(fraction)))
            except ValueError as error:
                expected.append(str(error))
    status, found, error = java("route", bundles["digits"], *arguments, main="Probe")
    assert (status, error) == (0, [])
    assert sum(isinstance(value, str) and "out of reach" in value for value in expected) == 4
    for got, wanted in zip(found, expected, strict=True):
        assert (float(got) if isinstance(wanted, float) else got) == wanted


def test_a_budget_needs_a_table(bundles, java):
    _, found, _ = java("route", bundles["float32"], "budget", "gate", 0.5, "budget", "oracle", 0.5, main="Probe")
    assert "no budget table" in found[0] and "policy must be 'gate' or 'cascade'" in found[1]


def damaged_bytes(rng, data):
    data = bytearray(data)
    at = rng.randrange(len(data))
    if rng.random() < 0.3:
        return bytes(data[:at])
    data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def with_plan(parts, part, change):
    """Changes the plan within a level's part, and makes the hashes match again."""
    with zipfile.ZipFile(io.BytesIO(parts[part])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["plan.json"] = json.dumps(change(json.loads(members["plan.json"]))).encode()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return rehashed({**parts, part: content.getvalue()})


def with_manifest(parts, keys, value):
    """Changes one value of ``bundle.json``."""
    manifest = json.loads(parts["bundle.json"])
    inner = manifest
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return {**parts, "bundle.json": json.dumps(manifest).encode()}


PART = {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
NUMBERS = [-1, 0, 1 << 31, 1 << 40, 1 << 70, 1.5, "1", None, True, [], 1e400]
NAMES = ["../outside", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "bundle.json", "a\0b", "x" * 101, "bundle.json/"]
VALUES = [
    *[(["parts", name], PART) for name in NAMES],
    *[(["levels", 0, "part"], name) for name in NAMES],
    *[(["kernels", "part"], name) for name in (*NAMES, "route.tflite", "level_0.zip")],
    *[(keys, number) for keys in (["levels", 1, "size"], ["parts", "kernels.bin", "bytes"]) for number in NUMBERS],
    *[
        (["madds", key], number)
        for key in ("start", "gate", "body")
        for number in NUMBERS
        if number not in (0, 1 << 40)
    ],
    *[(["policy", "gate_shift"], number) for number in (None, "1", [], 1e400, True)],
    *[(["policy", "default"], number) for number in (-1, 3, True, None, "oracle", 1.0)],
    *[(["image_shape"], value) for value in ([8, 8], [8, -8, 1], "888", [8, 8, True], [1 << 17, 8, 1])],
    *[(["labels"], value) for value in (["a"], "abc", [1, 2, 3])],
    *[(["kernels", "dtype"], value) for value in ("float64", "float16", None, [])],
    (["policy", "budget_table"], {"gate": [[1, 2]]}),
    (["policy", "cascade"], [2, 0]),
    (["levels"], []),
]
CHANGES = [
    *[{"offset": value} for value in (0, -64, 1, 1 << 20, 1 << 31, 1 << 62, 1.5, None)],
    *[{"begin": value} for value in ([-1, 0, 0, 0], [1 << 31, 0, 0, 0], [0], None, [0.0, 0, 0, 0])],
    *[{"shape": value} for value in ([1 << 30] * 4, [0, 1, 1, 1], [1 << 62] * 4, [-1, -1, 1, 1], [1], "1111")],
    *[{"factor": value} for value in (-1, 1 << 20, 1 << 62, True, 0.5)],
    *[{"axis": value} for value in (4, -1, None)],
    {"kernel": "other"},
    {"kernel": None},
    {"unknown": 1},
]


def changed_row(change, position):
    def apply(plan):
        for row in plan[int(position * len(plan)) :][:1]:
            row |= change
        return plan

    return apply


def samples(parts, seed, count):
    """(how it was damaged, parts or bytes of a single file) of damaged bundles, a sixth of them of each kind."""
    rng = random.Random(seed)
    for i in range(count):
        kind, name = i % 6, rng.choice(sorted(parts))
        if kind == 0:
            yield f"{name} damaged", {**parts, name: damaged_bytes(rng, parts[name])}
        elif kind == 1:
            name = rng.choice(sorted(set(parts) - {"bundle.json"}))
            yield f"{name} damaged, rehashed", rehashed({**parts, name: damaged_bytes(rng, parts[name]) or b"x"})
        elif kind == 2:
            keys, value = rng.choice(VALUES)
            yield f"{keys} = {value!r}", with_manifest(parts, keys, value)
        elif kind == 3:
            change, part = rng.choice(CHANGES), rng.choice(["level_0.zip", "level_1.zip", "level_2.zip"])
            yield f"{part}: {change}", with_plan(parts, part, changed_row(change, rng.random()))
        elif kind == 4:
            index = json.loads(parts["bundle.json"])["kernels"]["index"]
            key, value = rng.choice(sorted(index)), rng.choice([*NUMBERS, 32, 64, 1 << 20])
            changed = [value, index[key][1]] if rng.random() < 0.5 else [index[key][0], [value, *index[key][1][1:]]]
            yield f"{key}: {changed}", with_manifest(parts, ["kernels", "index", key], changed)
        else:
            content = io.BytesIO()
            as_file(content, parts)
            yield "the single file damaged", damaged_bytes(rng, content.getvalue())


def accepted(path):
    """Whether Python's reader takes a bundle as Java's ``verify`` does: every part, every level."""
    try:
        bundle = Bundle(path)
        for name in bundle.manifest["parts"]:
            bundle.part(name)
        for level in range(len(bundle.manifest["levels"])):
            bundle.level(level)
    except ValueError:
        return False
    return True


def test_equal_refusals(bundles, java, tmp_path):
    folder, kinds = tmp_path / "bundles", {}
    folder.mkdir()
    for i, (kind, content) in enumerate(samples(parts_of(bundles["float32"]), seed=0, count=72)):
        path = folder / str(i)
        kinds[str(path)] = kind
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            as_directory(path, content)
    before = sorted(tmp_path.rglob("*"))
    status, out, error = java("verify", *kinds)
    assert status == 2
    assert all(line.startswith(f"error: {folder}") for line in error), error
    assert len(out) + len(error) == len(kinds)
    found = {path: f"ok {path}" in out for path in kinds}
    for path, kind in kinds.items():
        expected = accepted(path)
        # of a ZIP's own fields Java reads some more strictly: see android/README.md
        stricter = expected and not found[path] and (kind.endswith("rehashed") or kind.startswith("the single file"))
        assert found[path] == expected or stricter, (kind, expected)
    assert sum(found.values()) < len(kinds) / 4  # a bit that nothing reads, a value that is allowed
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_part_leaves_no_half_made_file(bundles, java, tmp_path):
    parts = parts_of(bundles["float32"])
    parts["level_2.zip"] = parts["level_2.zip"][:-7]
    as_directory(tmp_path / "bundle", parts)
    status, _, error = java("materialize", tmp_path / "bundle", tmp_path / "out")
    assert status == 2 and len(error) == 1 and "level_2.zip is damaged" in error[0]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["body_0.tflite", "body_1.tflite"]
    assert {file.name for file in tmp_path.iterdir()} == {"bundle", "out"}


def test_a_file_that_cannot_be_renamed_leaves_nothing(bundles, java, tmp_path):
    (tmp_path / "out" / "body_0.tflite").mkdir(parents=True)  # a folder has the file's name
    status, _, error = java("materialize", bundles["float32"], tmp_path / "out")
    assert status == 2 and len(error) == 1 and "cannot be written" in error[0]
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["body_0.tflite"]


def test_an_archive_with_paths_writes_nothing_outside(bundles, java, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.dsbundle", "w") as archive:
        for name, data in {**parts_of(bundles["float32"]), "../../outside": b"x", "/tmp/outside": b"x"}.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    assert java("materialize", tmp_path / "x.dsbundle", tmp_path / "out")[0] == 0
    assert {file.name for file in tmp_path.iterdir()} == {"x.dsbundle", "out"}
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_deflate_bomb_is_refused_before_it_is_unpacked(bundles, java, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("graph.tflite", "plan.json", "factors.bin"):
            archive.writestr(name, bytes(40 << 20))
    parts = {**parts_of(bundles["float32"]), "level_0.zip": content.getvalue()}
    as_directory(tmp_path / "bundle", rehashed(parts))
    status, _, error = java("verify", tmp_path / "bundle")
    assert status == 2 and "level_0.zip is damaged: graph.tflite is damaged: 41943040 bytes" in error[0]
