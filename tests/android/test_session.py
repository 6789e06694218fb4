"""The Android session on a JVM, over the same LiteRT as Python's: equal results, equal refusals."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shared
from damaged import as_directory, damaged_graphs, parts_of, with_another_class
from helpers import images

from ds_keras import detection, zoo
from ds_keras.detection.routing.confidence import LEAST, confidence
from ds_keras.policies import margin
from ds_keras.runtime import Bundle, Session
from tests.detection import scenes

sys.path.append(str(Path(__file__).parents[2] / "tools"))
import jvm

pytestmark = pytest.mark.skipif(jvm.find_jdk() is None, reason=f"needs a JDK of Java {jvm.OLDEST} or later")
KEEP = 3
EVERY_FILE = ["0", "1", "2", "gate", "knobs:cascade:2", "cascade"]


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    runner = jvm.Runner(tmp_path_factory.mktemp("jvm"))
    runner.java[1:1] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # for a few images, Java need not compile well
    return runner


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Paths by name."""
    return {
        "float32": shared.bundle("labelled", tmp_path_factory),
        "int8": shared.bundle("int8", tmp_path_factory),
        "digits": zoo.bundle("ds_mobilenet_digits"),
        "detector": shared.bundle("detector.dsbundle", tmp_path_factory),
        "digits int8": zoo.bundle("ds_mobilenet_digits", int8=True),
    }


def results(lines):
    """Levels, MAdds and logits of lines."""
    assert not [line for line in lines if line.startswith("error")], lines
    values = np.array([line.split() for line in lines], "float64")
    return values[:, 0], values[:, 1], values[:, 2:].astype("float32")


def assert_equal(found, routed):
    levels, madds, logits = found
    np.testing.assert_array_equal(levels, routed.levels)
    np.testing.assert_array_equal(madds, routed.madds)
    np.testing.assert_allclose(logits, routed.logits, atol=1e-5 * max(1, np.abs(routed.logits).max()))


@pytest.mark.parametrize(("name", "keep"), [("float32", KEEP), ("int8", KEEP), ("digits", 1), ("digits int8", 1)])
def test_equal_results(bundles, runner, name, keep):
    """Every policy and level, in one thread and in many; knobs that send images to every level of the cascade."""
    session = Session(bundles[name])
    x = np.random.default_rng(0).uniform(-20, 280, (24, *session.image_shape)).astype("float32")
    chain = session.manifest["policy"]["cascade"]
    margins = [np.unique([margin(row) for row in session.run(x, level=level).logits]) for level in chain[:-1]]
    knobs = [float((found[12] + found[13]) / 2) for found in margins]  # which half of the images reach
    session.settings["cascade"] = np.array(knobs, "float32")
    policies = ["default", "gate", *map(str, range(session.num_levels)), "cascade"]
    what = [
        *policies[:-1],
        f"knobs:cascade:{','.join(map(str, knobs))}",
        "cascade",
        *(f"parallel:{p}" for p in policies),
    ]
    lines = runner("run", bundles[name], x, keep, *what)
    assert len(lines) == 2 * len(policies) * len(x)
    own = Session(bundles[name])
    for i, policy in enumerate(policies):
        by_name = {"default": own.default_policy}.get(policy, int(policy) if policy.isdigit() else policy)
        routed = (session if policy == "cascade" else own).run(x, policy=by_name)
        assert_equal(results(lines[i * len(x) : (i + 1) * len(x)]), routed)
    several = lines[len(policies) * len(x) :]
    assert several[len(x) :] == lines[len(x) : len(policies) * len(x)]  # the default's knobs have changed by then
    assert len(set(session.run(x, policy="cascade").levels)) > 1


def test_equal_boxes(bundles, runner):
    session, x = detection.Session(bundles["detector"]), scenes.scenes(2, (64, 64))[0].astype("float32")
    lines = runner("detect", bundles["detector"], x, 1, 0.5, 20, 0, 1)
    assert len(lines) == 4
    for i, line in enumerate(lines):
        (expected,) = session.detect(x[i % 2], i // 2, threshold=0.5, most=20)
        rows = np.array(line.split(), "float64").reshape(-1, 6)
        np.testing.assert_array_equal(rows[:, 0], expected.classes)
        np.testing.assert_allclose(rows[:, 1], expected.scores, atol=1e-5)
        np.testing.assert_allclose(rows[:, 2:], expected.boxes, atol=1e-4)
    assert runner("detect", bundles["detector"], x, 1, 0.5, 20, 2) == ["error: a level in [0, 2), received 2"]
    sure = [float(confidence(session.detect(one, 0, threshold=LEAST)[0].scores)) for one in x]
    between = sum(sure) / 2  # one photo stays, the other goes on
    assert min(sure) < between < max(sure)
    low = session.cascade.budgets.of("cascade")[0].madds / session.spec.largest
    what = [f"thresholds:{between}", "cascade", "budget:1", "cascade", "milliseconds:1000", "cascade"]
    lines = runner("detect", bundles["detector"], x, 1, 0.5, 20, *what, "budget:0.001", "thresholds:1,2")
    cascades = [replace(session.cascade, thresholds=(between,)), session.cascade.at(fraction=1.0)]
    cascades.append(session.cascade.at(madds=1e12))  # both take the table's last row
    for i, line in enumerate(lines[:6]):
        *_, level, madds = session.run_in_turn(x[i % 2], cascades[i // 2])
        (expected,) = session.detect(x[i % 2], cascade=cascades[i // 2], threshold=0.5, most=20)
        values = np.array(line.split(), "float64")
        assert values[:2].tolist() == [level, madds]
        rows = values[2:].reshape(-1, 6)
        np.testing.assert_array_equal(rows[:, 0], expected.classes)
        np.testing.assert_allclose(rows[:, 2:], expected.boxes, atol=1e-4)
    assert {line.split()[0] for line in lines[:2]} == {"0", "1"}
    assert f"a fraction of {low:.3f}" in lines[6] and "has 1 knobs, each a number" in lines[7]
    (line,) = runner("run", bundles["detector"], x, KEEP, "0")
    assert line == f"error: {bundles['detector']} is a bundle of a detector: open it by DsDetector"
    (line,) = runner("detect", bundles["digits"], x, 1, 0.5, 20, 0)
    assert line == f"error: {bundles['digits']} is a bundle of a classifier: open it by DsSession"


def test_equal_budgets(bundles, runner):
    session = Session(bundles["digits"])
    x = np.random.default_rng(0).uniform(0, 255, (16, *session.image_shape)).astype("float32")
    budgets = [(policy, fraction) for policy in ("cascade", "gate") for fraction in (0.2, 0.6, 1.0)]
    what = [word for policy, fraction in budgets for word in (f"budget:{policy}:{fraction}", policy)]
    lines = runner("run", bundles["digits"], x, KEEP, *what, "milliseconds:cascade:1000", "cascade")
    assert len(lines) == (len(budgets) + 1) * len(x)
    *each, last = (lines[i : i + len(x)] for i in range(0, len(lines), len(x)))
    for (policy, fraction), found in zip(budgets, each, strict=True):
        assert_equal(results(found), session.run(x, policy=policy, budget=fraction))
    session.set_budget(madds=1e12, policy="cascade")
    assert_equal(results(last), session.run(x, policy="cascade"))  # both take the table's last row


def test_refusals(bundles, runner):
    """One line that names the argument; the session goes on."""
    x = images(1)[:, :8, :8]
    what = {
        "7": "a level in [0, 3), received 7",
        "-1": "a level in [0, 3), received -1",
        "oracle": "policy must be 'gate' or 'cascade', received 'oracle'",
        "budget:cascade:0.5": "no budget table",
        "budget:cascade:30": "fraction must be at most 1, which is the cost of the largest level, received 30",
        "knobs:cascade:0.1,0.2,0.3": "policy 'cascade' has 1 knobs, each a number, received [0.1, 0.2, 0.3]",
        "knobs:gate:NaN": "policy 'gate' has 1 knobs, each a number, received [NaN]",
        "knobs:oracle:1": "policy must be 'gate' or 'cascade', received 'oracle'",
        "materialize:9": "a level in [0, 3), received 9",
        "benchmark:0": "rounds must be at least 1, received 0",
    }
    lines = runner("run", bundles["float32"], x, KEEP, *what, "0")
    assert len(lines) == len(what) + 1
    for line, wanted in zip(lines, what.values(), strict=False):
        assert line.startswith("error: ") and wanted in line
    assert_equal(results(lines[-1:]), Session(bundles["float32"]).run(x, level=0))
    assert runner("run", bundles["float32"], x[:, :4], KEEP, "0") == [
        f"error: an image of {x[0].size} values, received {x[0].size // 2}"
    ]
    assert "threads and keep of 1 at least" in runner("run", bundles["float32"], x, 0, "0")[0]


def test_files_are_made_once_and_again_where_damaged(bundles, runner):
    x, bundle = np.zeros((1, *Bundle(bundles["int8"]).manifest["image_shape"])), Bundle(bundles["int8"])
    folder = runner.folder / "cache" / bundle.id[:16]
    expected = runner("run", bundles["int8"], x, KEEP, "materialize:gate", "materialize:cascade", "materialize:1", "1")
    files = {path.stem: path for path in folder.iterdir()}
    assert set(files) >= {"route", "entry_0", "body_0", "body_1", "entry_1"}
    assert all(path.read_bytes() == bundle.file(name) for name, path in files.items())
    before = files["entry_1"].stat().st_mtime_ns
    assert runner("run", bundles["int8"], x, KEEP, "1") == expected
    assert files["entry_1"].stat().st_mtime_ns == before
    files["entry_1"].write_bytes(files["entry_1"].read_bytes()[:-9])
    assert runner("run", bundles["int8"], x, KEEP, "1") == expected
    assert files["entry_1"].read_bytes() == bundle.file("entry_1")


@pytest.mark.parametrize("policy", ["gate", "cascade", 2])
def test_classes_of_another_number_than_the_graphs_are_refused_on_opening(bundles, runner, tmp_path, policy):
    x, path = np.zeros((1, *Bundle(bundles["float32"]).manifest["image_shape"])), tmp_path / "other"
    classes = with_another_class(parts_of(bundles["float32"]), path, policy)
    (line,) = runner("run", path, x, KEEP, "0")
    assert (
        line.startswith(f"error: {path}: ") and f"must give {classes + 1} logits, it" in line and str(classes) in line
    )


@pytest.mark.parametrize("count", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_damaged_graphs_do_not_end_the_process(bundles, runner, tmp_path, count):
    """Graphs under hashes that match: a line that names the file, or a result."""
    x, refused = np.zeros((1, *Bundle(bundles["float32"]).manifest["image_shape"])), 0
    for i, parts in enumerate(damaged_graphs(parts_of(bundles["float32"]), 0, count)):
        as_directory(path := tmp_path / str(i), parts)
        lines = runner("run", path, x, KEEP, *EVERY_FILE)
        if wrong := [line for line in lines if line.startswith("error: ")]:
            name = rf"{path}: (route|(entry|body)_[0-2])"
            assert re.match(rf"error: ({name} is damaged, it cannot be opened|LiteRT cannot run {name}): ", wrong[0])
            refused += 1
    assert refused


def test_timed_pairs(bundles, runner, tmp_path):
    """A line for each comparison: routed, every level, the cascade's first, the gate's smallest and largest."""
    bundle, x, files = Bundle(bundles["float32"]), images(2)[:, :8, :8], []
    for level in range(3):
        files.append(tmp_path / f"{level}.tflite")
        files[level].write_bytes(bundle.file(f"entry_{level}"))
    lines = [line.split() for line in runner("time", bundles["float32"], x, 4, 1, *files)]
    first = bundle.manifest["policy"]["cascade"][0]
    names = ["routed mixed", "file 0", "file 1", "file 2", f"cascade/file {first}", "gate/file 0", "gate/file 2"]
    assert [" ".join(line[:2]) for line in lines] == names
    assert all(len(line) == 2 + 2 * 4 and min(map(int, line[2:])) > 0 for line in lines)


def test_without_a_jdk(monkeypatch, tmp_path):
    monkeypatch.setattr(jvm, "find_jdk", lambda: None)
    with pytest.raises(ValueError, match="needs a JDK of Java 22 or later in JAVA_HOME"):
        jvm.Runner(tmp_path)
