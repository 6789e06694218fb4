"""The Java reader of bundles against the Python one: equal files, equal refusals, equal routing."""

import hashlib
import io
import json
import random
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import shared
from damaged import (
    as_directory,
    as_file,
    as_version_2,
    damaged_graph,
    every_value,
    parts_of,
    rehashed,
    samples,
    with_another_class,
)

from ds_keras import zoo
from ds_keras.detection.boxes import choose
from ds_keras.detection.routing.confidence import CONFIDENCES, confidence
from ds_keras.policies import BudgetTable, Times, margin
from ds_keras.runtime import Bundle, Session
from ds_keras.runtime.graph_check import check_graph
from ds_keras.runtime.materialize import Copy, Template, materialize

sys.path.append(str(Path(__file__).parents[2] / "tools"))
import jvm

pytestmark = pytest.mark.skipif(
    shutil.which("javac") is None or shutil.which("java") is None, reason="needs a JDK: javac and java on the PATH"
)

READER = Path(__file__).parents[2] / "android" / "reader" / "src"
PACKAGE = "io.github.dskeras.bundle."


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """The compiled reader, and the probe of these tests."""
    folder = tmp_path_factory.mktemp("classes")
    # -options: a JDK of the future may say that release 8 is old
    command = [
        "javac",
        *jvm.QUICK,
        "-Xlint:all,-options",
        "-Werror",
        "--release",
        "8",
        "-encoding",
        "UTF-8",
        "-d",
        folder,
    ]
    done = subprocess.run([*command, *sorted(READER.rglob("*.java"))], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def java(classes):
    """Runs a class of the reader; returns the exit status and the lines of both streams."""

    def run(*arguments, main="Main"):
        command = [
            "java",
            "-Xmx64m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            classes,
            PACKAGE + main,
            *map(str, arguments),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()

    return run


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Paths by name."""
    folder = tmp_path_factory.mktemp("bundles")
    paths = {
        "float32": shared.bundle("labelled", tmp_path_factory),
        "float16": shared.bundle("half", tmp_path_factory),
        "int8": shared.bundle("int8", tmp_path_factory),
        "digits": folder / "digits",
        "detector": shared.bundle("detector.dsbundle", tmp_path_factory),
        "float32 file": folder / "nano.dsbundle",
        "float16 file": folder / "half.dsbundle",
    }
    for name in ("float32", "float16"):
        as_file(paths[f"{name} file"], parts_of(paths[name]))
    with zipfile.ZipFile(zoo.bundle("ds_mobilenet_digits", int8=True)) as archive:
        as_directory(paths["digits"], {part: archive.read(part) for part in archive.namelist()})
    return paths


@pytest.mark.parametrize("name", ["float32", "float32 file", "float16", "float16 file", "int8", "digits", "detector"])
def test_equal_files(bundles, java, tmp_path, name):
    assert java("materialize", bundles[name], tmp_path / "out") == (0, [], [])
    bundle = Bundle(bundles[name])
    assert sorted(file.stem for file in (tmp_path / "out").iterdir()) == sorted(bundle.files)
    for file in bundle.files:
        assert (tmp_path / "out" / f"{file}.tflite").read_bytes() == bundle.file(file)


@pytest.mark.parametrize(
    ("kinds", "choices"), [(1, [(1.0, 1.0, 7)]), (3, [(0.0, 0.2, 1000), (0.3, 0.5, 100)]), (200, [(0.3, 0.5, 100)])]
)
def test_the_boxes_that_numpy_chooses(java, tmp_path, kinds, choices):
    """Many equal scores, more candidates than are compared, and numbers that are none."""
    rng, count = np.random.default_rng(kinds), 700
    low = rng.uniform(-0.2, 0.9, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(-0.05, 0.4, (count, 2))], axis=1).astype("float32")
    scores = (rng.integers(0, 12, (count, kinds)) / 10).astype("float32")
    boxes[3, 1], boxes[4, 2], scores[5], scores[6] = np.nan, np.inf, np.nan, np.inf
    (tmp_path / "numbers").write_bytes(boxes.astype(">f4").tobytes() + scores.astype(">f4").tobytes())
    for threshold, iou, most in choices:
        numbers = (count, kinds, threshold, iou, most)
        status, lines, _ = java("boxes", tmp_path / "numbers", *numbers, main="Probe")
        found, expected = (
            np.array([line.split() for line in lines[:-1]], "float32"),
            choose(boxes, scores, threshold, iou, most),
        )
        assert status == 0 and len(found) == len(expected) > 0
        np.testing.assert_array_equal(found[:, 0], expected.classes)
        np.testing.assert_array_equal(found[:, 1], expected.scores)
        np.testing.assert_array_equal(found[:, 2:], expected.boxes)
        sure = [confidence(expected.scores, name) for name in CONFIDENCES]
        np.testing.assert_allclose(np.array(lines[-1].split(), "float32"), sure, rtol=1e-5)


def test_damaged_manifests_of_detectors(bundles, java, tmp_path):
    with zipfile.ZipFile(bundles["detector"]) as archive:
        parts, paths = {name: archive.read(name) for name in archive.namelist()}, []
    for i, change in enumerate(
        [
            {},
            {"task": "classification"},
            {"num_classes": 0},
            {"outputs": {"boxes": [84, 4], "scores": [84, 3]}},
            {"outputs": {"boxes": [1 << 24, 4], "scores": [1 << 24, 2]}},
            {"outputs": {"logits": [2]}},
            {"format_version": 3},
            {"policy": {"confidence": "sure"}},
            {"policy": {"confidence": 1}},
            {"policy": {"budget_table": {}}},
        ]
    ):
        manifest = json.loads(parts["bundle.json"])
        policy = {**manifest["policy"], **change.pop("policy", {})}
        manifest = {**manifest, **change, "policy": policy}
        as_directory(tmp_path / str(i), {**parts, "bundle.json": json.dumps(manifest).encode()})
        paths.append(tmp_path / str(i))
    status, good, bad = java("verify", *paths)
    assert status == 2 and good == [f"ok {paths[0]}"] and len(bad) == len(paths) - 1
    for path, line in zip(paths[1:], bad, strict=True):
        assert str(path) in line
        with pytest.raises(ValueError, match=str(path)):
            bundle = Bundle(path)
            bundle.file("entry_0")


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
    tail = rng.bytes(77)
    end += len(tail)
    expected = materialize(Template(graph, tuple(copies), factors, tail, end), kernels)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("graph.tflite", graph)
        archive.writestr("plan.json", json.dumps([copy._asdict() for copy in copies]))
        archive.writestr("factors.bin", factors.astype("<f4").tobytes())
        archive.writestr("tail.bin", tail)
    parts = {**as_version_2(bundles["float32"]), "kernels.bin": payload, "body_1.zip": content.getvalue()}
    manifest = json.loads(parts["bundle.json"])
    manifest["kernels"] = {"part": "kernels.bin", "dtype": dtype, "index": index}
    manifest["files"]["body_1"] |= {"size": end, "sha256": hashlib.sha256(expected).hexdigest()}
    as_directory(tmp_path / "bundle", rehashed({**parts, "bundle.json": json.dumps(manifest).encode()}))
    assert java("file", tmp_path / "bundle", "body_1", tmp_path / "file") == (0, [], [])
    assert (tmp_path / "file").read_bytes() == expected


def test_one_file_and_bad_commands(bundles, java, tmp_path):
    target = tmp_path / "one.tflite"
    target.write_bytes(b"an older file")
    assert java("file", bundles["float32"], "entry_1", target) == (0, [], [])
    assert target.read_bytes() == Bundle(bundles["float32"]).file("entry_1")
    for arguments in (["file", bundles["float32"], "entry_3", target], ["file", bundles["float32"], "", target], []):
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


def with_chain(directory, path, chain):
    """The bundle under another cascade, with a table in which rows have equal costs: first, last and between."""
    manifest, rng = json.loads((directory / "bundle.json").read_text()), np.random.default_rng(0)
    costs = (manifest["madds"]["start"] + manifest["madds"]["body"][-1]) * np.array([2, 2, 3, 5, 5, 5, 8, 10, 10]) / 10
    knobs = {"gate": [0.1], "cascade": rng.uniform(0, 1, len(chain) - 1).tolist()}
    passes = rng.uniform(0, 1, (len(costs), len(manifest["madds"]["body"]))).tolist()
    tables = {
        policy: [
            [rng.normal(size=len(own)).tolist(), cost, 0.5, row]
            for cost, row in zip(costs.tolist(), passes, strict=True)
        ]
        for policy, own in knobs.items()
    }
    manifest["policy"] |= {"cascade": chain, "knobs": knobs, "budget_table": tables}
    as_directory(path, {**parts_of(directory), "bundle.json": json.dumps(manifest).encode()})
    return path


@pytest.mark.parametrize("chain", [None, [1, 2], [0, 1, 2]])
def test_equal_routing(bundles, java, tmp_path, chain):
    path = bundles["digits"] if chain is None else with_chain(bundles["float32"], tmp_path / "chain", chain)
    manifest, rng = json.loads((path / "bundle.json").read_text()), np.random.default_rng(0)
    madds, policies = manifest["madds"], manifest["policy"]
    assert len(policies["cascade"]) == 3 or chain == [1, 2]
    body, rows = np.array(madds["body"], "float64"), policies["budget_table"]
    table = BudgetTable.from_json(rows, len(body), policies["cascade"])
    arguments, expected = [], []
    for logits in rng.normal(size=(100, len(body))).astype("float32"):
        shift = np.float32(rng.normal(0, 2))
        arguments += ["gate", shift, ",".join(map(str, logits))]
        expected.append(str(int(np.argmax(logits - shift * (body / body[-1])))))
    random = rng.normal(0, 3, (100, 10))
    for logits in np.stack([*random, np.repeat([2, 1], 5), 200 * np.eye(10)[3]]).astype("float32"):
        sure = margin(logits)
        for threshold in (sure - np.float32(1e-6), sure + np.float32(1e-6), np.float32(0), np.float32(1.01)):
            arguments += ["cascade", threshold, ",".join(map(str, logits))]
            expected.append(str(not sure < threshold).lower())
    largest = madds["start"] + madds["body"][-1]
    for policy in ("gate", "cascade"):
        arguments += ["knobs", policy, "-"]
        expected.append(np.array(policies["knobs"][policy], "float32"))
        costs = [row[1] / largest for row in rows[policy]]
        for fraction in [*np.linspace(costs[0], costs[-1], 40), *costs, costs[-1] + 1, 0.0]:
            arguments += ["budget", policy, float(fraction)]
            try:
                expected.append(table.settings_at(policy, largest, fraction=float(fraction)))
            except ValueError as error:
                expected.append(str(error))
        times = Times(0.5, rng.uniform(0, 2, len(body)).tolist(), 0.125)  # bodies in no order
        spent = np.maximum.accumulate(times.of([row[3] for row in rows[policy]], policy))
        for milliseconds in [*np.linspace(spent[0], spent[-1], 11)[1:-1], 0.0, 100.0]:
            given = (milliseconds, times.start, times.judge, *times.bodies)
            arguments += ["times", policy, ",".join(str(float(value)) for value in given)]
            try:
                expected.append(table.settings_at(policy, largest, milliseconds=milliseconds, times=times))
            except ValueError as error:
                expected.append(str(error))
    status, found, error = java("route", path, *arguments, main="Probe")
    assert (status, error) == (0, [])
    assert sum("out of reach" in value for value in expected if isinstance(value, str)) >= 4
    for got, wanted in zip(found, expected, strict=True):
        if isinstance(wanted, str):
            assert got == wanted
        else:  # sums of milliseconds are rounded in another order
            np.testing.assert_allclose(np.array(json.loads(got), "float32"), wanted, rtol=1e-5, atol=1e-6)


def test_equal_files_for_a_policy(bundles, java):
    """What is made at install, and what an image meets, in that order."""
    session = Session(bundles["float32"])
    policies = ["gate", "cascade", 0, 2]
    status, found, _ = java(
        "route", bundles["float32"], *(x for p in policies for x in ("files", p, "-")), main="Probe"
    )
    assert status == 0 and found == [f"[{', '.join(session.files(policy))}]" for policy in policies]
    _, found, _ = java("route", bundles["float32"], "files", 3, "-", "files", "random", "-", main="Probe")
    assert "a level in [0, 3), received 3" in found[0] and "policy must be 'gate' or 'cascade'" in found[1]


def test_a_budget_needs_a_table(bundles, java):
    _, found, _ = java("route", bundles["float32"], "budget", "gate", 0.5, "budget", "oracle", 0.5, main="Probe")
    assert "no budget table" in found[0] and "policy must be 'gate' or 'cascade'" in found[1]


def made(path):
    """What Python's reader makes of a bundle, every part read: its files, or what is wrong."""
    try:
        bundle = Bundle(path)
        for name in bundle.manifest["parts"]:
            bundle.part(name)
        return {f"{name}.tflite": bundle.file(name) for name in bundle.files}
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_equal_refusals_of_graphs(bundles, java, tmp_path, count):
    """What LiteRT must not see, in Java as in Python; a vector longer than its file Java always finds."""
    rng, files = random.Random(count), []
    for name in ("float32", "digits"):  # the digits' are int8
        bundle = Bundle(bundles[name])
        files += [(bundle.file(file), len(bundle.template(file).graph)) for file in bundle.files]
    damaged = [damaged_graph(rng, *rng.choice(files)) for _ in range(count)]
    tried = [*(file for file, _ in files), *damaged, b"", b"TFL3" * 3, b"\xff" * 99, bytes(99)]
    (tmp_path / "files").write_bytes(b"".join(struct.pack(">I", len(file)) + file for file in tried))
    status, found, error = java("graphs", tmp_path / "files", main="Probe")
    assert (status, error, len(found)) == (0, [], len(tried))
    strict = 0
    for file, line in zip(tried, found, strict=True):
        try:
            check_graph(file)
        except ValueError as reason:
            assert line.startswith("its graph is damaged: "), reason
        else:
            strict += line != "ok"
    assert found[: len(files)] == ["ok"] * len(files) and 0.2 < np.mean(np.array(found) != "ok") < 0.9
    assert strict <= count / 50


def compare(java, folder, damaged):
    """Both readers on damaged bundles, in one JVM; how many both take, both refuse, and Java alone refuses."""
    bundles, cache, count = folder / "bundles", folder / "cache", Counter()
    bundles.mkdir()
    cache.mkdir()
    for i, sample in enumerate(damaged):
        if isinstance(sample.content, bytes):
            (bundles / str(i)).write_bytes(sample.content)
        else:
            as_directory(bundles / str(i), sample.content)
    before = {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*") if cache not in (path, *path.parents)}
    status, out, error = java("cache", cache, *(bundles / str(i) for i in range(len(damaged))), main="Probe")
    assert (status, error, len(out)) == (0, [], len(damaged))
    for i, (sample, line) in enumerate(zip(damaged, out, strict=True)):
        path, files = bundles / str(i), sorted((cache / str(i)).glob("*"))
        tracemalloc.start()
        expected, named = made(path), (f"{path}: ", f"{path} is not a bundle")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # no declared size is allocated before it is checked
        tracemalloc.stop()
        found = {file.name: file.read_bytes() for file in files} if line == "ok" else line
        why = (sample.what, found, expected)
        if isinstance(expected, str):
            assert line != "ok" and line.startswith(named) and expected.startswith(named), why
        else:
            assert found == expected or (sample.archive and line.startswith(named)), why
        assert "memory" not in line and bool(files) == (line == "ok"), why
        count["both take" if line == "ok" else "both refuse" if isinstance(expected, str) else "Java refuses"] += 1
    assert {path.name for path in cache.iterdir()} == {str(i) for i, line in enumerate(out) if line == "ok"}
    after = {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*") if cache not in (path, *path.parents)}
    assert before == after
    return count


def test_equal_refusals_of_every_value(bundles, java, tmp_path):
    count = compare(java, tmp_path, list(every_value(parts_of(bundles["float32"]))))
    assert count["Java refuses"] == 0 and count["both take"] < 40  # values that are allowed


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("seed", "number"), [(0, 64), pytest.param(1, 1000, marks=pytest.mark.slow)])
def test_equal_refusals(bundles, java, tmp_path, seed, number, version):
    read = {2: as_version_2, 3: parts_of}[version]
    damaged = list(samples(read(bundles["float32"]), seed, number))
    assert sum(sample.rehashed for sample in damaged) == number // 2
    count = compare(java, tmp_path, damaged)
    assert count["both refuse"] > number / 2


@pytest.mark.parametrize("name", ["float32", "int8", "digits", "version 2"])
def test_another_number_of_classes_than_the_graphs_is_refused(bundles, java, tmp_path, name):
    parts = as_version_2(bundles["float32"]) if name == "version 2" else parts_of(bundles[name])
    as_directory(tmp_path / "whole", parts)
    assert java("classes", tmp_path / "whole", main="Probe") == (0, ["ok"], [])
    other, classes = tmp_path / "other", with_another_class(parts, tmp_path / "other")
    line = f"{other}: body_0 must give {classes + 1} logits, its shape is [1, {classes}]"
    assert java("classes", other, main="Probe") == (0, [line], [])


def test_a_damaged_part_leaves_no_half_made_file(bundles, java, tmp_path):
    parts = parts_of(bundles["float32"])
    parts["level_2.zip"] = parts["level_2.zip"][:-7]
    as_directory(tmp_path / "bundle", parts)
    status, _, error = java("materialize", tmp_path / "bundle", tmp_path / "out")
    assert status == 2 and len(error) == 1 and "level_2.zip is damaged" in error[0]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "entry_0.tflite",
        "entry_1.tflite",
        "route.tflite",
    ]
    assert {file.name for file in tmp_path.iterdir()} == {"bundle", "out"}


def test_a_file_that_cannot_be_renamed_leaves_nothing(bundles, java, tmp_path):
    (tmp_path / "out" / "route.tflite").mkdir(parents=True)  # a folder has the file's name
    status, _, error = java("materialize", bundles["float32"], tmp_path / "out")
    assert status == 2 and len(error) == 1 and "cannot be written" in error[0]
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["route.tflite"]


def test_an_archive_with_paths_writes_nothing_outside(bundles, java, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.dsbundle", "w") as archive:
        for name, data in {**parts_of(bundles["float32"]), "../../outside": b"x", "/tmp/outside": b"x"}.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    assert java("materialize", tmp_path / "x.dsbundle", tmp_path / "out")[0] == 0
    assert {file.name for file in tmp_path.iterdir()} == {"x.dsbundle", "out"}
    assert len(list((tmp_path / "out").iterdir())) == 7


@pytest.mark.parametrize(
    ("version", "part", "member"), [(2, "body_0.zip", "graph.tflite"), (3, "level_0.zip", "words.bin")]
)
def test_a_deflate_bomb_is_refused_before_it_is_unpacked(bundles, java, tmp_path, version, part, member):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("graph.tflite", "plan.json", "factors.bin", "tail.bin", "words.bin", "literals.bin"):
            archive.writestr(name, bytes(40 << 20))
    parts = {**{2: as_version_2, 3: parts_of}[version](bundles["float32"]), part: content.getvalue()}
    as_directory(tmp_path / "bundle", rehashed(parts))
    status, _, error = java("verify", tmp_path / "bundle")
    assert status == 2 and f"{part} is damaged: {member} is damaged: 41943040 bytes" in error[0]
