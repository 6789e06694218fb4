"""A detector's bundle, run without TensorFlow."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import shared
from PIL import Image

from ds_keras import detection, runtime, zoo
from ds_keras.cli import program
from ds_keras.core import cost
from ds_keras.core.files import read_json
from ds_keras.detection.boxes import choose, overlaps
from ds_keras.export import flatbuffer
from ds_keras.policies.base import RoutingSpec
from ds_keras.policies.budget_table import BudgetTable
from ds_keras.runtime.levels import Levels
from ds_keras.runtime.manifest import check_manifest
from tests.detection import scenes

pytest.importorskip("ai_edge_litert")


@pytest.fixture(scope="module")
def model():
    return shared.detector()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return shared.bundle("detector.dsbundle", tmp_path_factory)


@pytest.fixture(scope="module")
def bundle(path):
    return runtime.Bundle(path)


def test_boxes_and_scores_of_every_level_are_those_of_keras(model, bundle):
    session, photo = detection.Session(bundle), scenes.scenes(1)[0][0]
    image = np.random.default_rng(1).uniform(0, 255, model.image_shape).astype("float32")
    assert session.levels == [0, 1] and session.labels == scenes.NAMES
    for level in session.levels:
        expected = model.results(model(image[None], level=level))
        for name, y in zip(model.result_names, session.run(image, level), strict=True):
            largest = max(1, np.abs(expected[name]).max())
            np.testing.assert_allclose(y, expected[name][0], atol=1e-5 * largest)
        (found,), (wanted,) = (one.detect(photo, level=level, threshold=0.5) for one in (session, model))
        assert len(found) and found.names == wanted.names
        np.testing.assert_allclose(found.boxes, wanted.boxes, atol=1e-4)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)


def test_a_cascade_goes_on_where_the_smallest_level_is_in_doubt(bundle, model):
    session, image = detection.Session(bundle), scenes.scenes(1, (64, 64))[0][0]
    spec = model.spec
    for threshold, expected, madds in ((0.0, 0, cost.madds(model, 0)), (1.01, 1, spec.start + sum(spec.bodies))):
        cascade = detection.DetectionCascade(spec, BudgetTable({}), thresholds=(threshold,))
        boxes, scores, level, spent = session.run_in_turn(image, cascade)
        assert (level, spent) == (expected, madds)
        for value, wanted in zip((boxes, scores), session.run(image, expected), strict=True):
            np.testing.assert_array_equal(value, wanted)
        (found,), (wanted,) = session.detect(image, cascade=cascade), session.detect(image, level=expected)
        np.testing.assert_array_equal(found.scores, wanted.scores)
        (found,), (wanted,) = model.detect(image, cascade=cascade), model.detect(image, level=expected)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
    for one in (session, model):
        with pytest.raises(ValueError, match="give level or cascade"):
            one.detect(image, level=0, cascade=cascade)
        for bodies, message in (((10.0, 20.0, 90.0), "of the levels"), ((10.0, 90.0), "of this detector, whose")):
            wrong = RoutingSpec(10.0, 0.0, bodies, (0, len(bodies) - 1))
            with pytest.raises(ValueError, match=f"cascade must be {message}"):
                one.detect(image, cascade=detection.DetectionCascade(wrong, BudgetTable({}), thresholds=(0.5,)))


def test_a_bundle_holds_its_cascade(bundle, model):
    session, images = detection.Session(bundle), list(scenes.scenes(2, (64, 64))[0])
    written = shared.cascade(model.spec)
    assert session.cascade == written and session.spec == model.spec
    assert session.run_in_turn(images[0])[2] == session.run_in_turn(images[0], written)[2]
    for budget, level in ((cost.madds(model, 0) / model.spec.largest, 0), (1.0, None)):
        for found, wanted in zip(
            session.detect(images, budget=budget),
            session.detect(images, level=level, cascade=None if level == 0 else written.at(fraction=1.0)),
            strict=True,
        ):
            np.testing.assert_array_equal(found.scores, wanted.scores)
    assert session.times is None
    (found,) = session.detect(images[:1], milliseconds=1e6)
    assert session.times is not None
    np.testing.assert_array_equal(found.scores, session.detect(images[:1], level=1)[0].scores)
    with pytest.raises(ValueError, match="out of reach"):
        session.detect(images, budget=0.001)
    with pytest.raises(ValueError, match="budget must be a number of at most 1, .* received 30"):
        session.detect(images, budget=30)
    with pytest.raises(ValueError, match="give budget or milliseconds, received budget=0.5 and milliseconds=30"):
        session.detect(images, budget=0.5, milliseconds=30)
    assert detection.Session(bundle).detect([], milliseconds=30) == []  # nothing to measure on, nothing to find
    twin = copy.copy(bundle)
    twin.manifest = copy.deepcopy(bundle.manifest)
    del twin.manifest["policy"]["confidence"]  # as bundles without a cascade
    assert detection.Session(twin).cascade is None
    with pytest.raises(ValueError, match="cascade must be given"):
        detection.Session(twin).detect(images, budget=0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": "sure"},
        {"confidence": ["entropy"]},
        {"budget_table": {}},
        {"budget_table": {"cascade": [[[0.5], 1, float("nan")]]}},
        {"budget_table": {"cascade": [[[0.5, 0.5], 1, 0.5]]}},
        {"knobs": {"gate": [0.0], "cascade": [float("inf")]}},
        {"knobs": {"gate": [0.0], "cascade": []}},
        {"cascade": [0, 2]},
    ],
)
def test_a_damaged_cascade_is_refused(bundle, change):
    manifest = copy.deepcopy(bundle.manifest)
    manifest["policy"].update(change)
    with pytest.raises(ValueError, match="must have|must map|cascade must be"):
        check_manifest(manifest)


def test_a_budget_in_milliseconds_takes_the_times_of_this_machine(bundle, path, model, tmp_path, capsys):
    session, image = detection.Session(bundle, keep=1), scenes.scenes(1, (64, 64))[0]
    cascade = replace(shared.cascade(model.spec), thresholds=None)
    times = session.benchmark(image, cascade, rounds=2)
    assert times.start >= 0 and len(times.bodies) == 2 and min(times.bodies) > 0 and times.judge >= 0
    assert cascade.at(milliseconds=1e6, times=times).thresholds == pytest.approx((1.01,))
    with pytest.raises(ValueError, match="an image and a round at least"):
        session.benchmark(image, cascade, rounds=0)
    cascade.write(tmp_path / "routing.json")
    Image.fromarray(image[0]).save(tmp_path / "photo.png")
    flags = [f"--model={path}", f"--cascade={tmp_path / 'routing.json'}", str(tmp_path / "photo.png")]
    program.main("detect", [*flags, "--milliseconds=1000000"])
    expected = capsys.readouterr().out
    program.main("detect", [flags[0], flags[2], "--milliseconds=1000000"])  # the bundle's own cascade
    assert "photo.png" in expected and capsys.readouterr().out == expected
    with pytest.raises(SystemExit):
        program.main("detect", [*flags, "--level=0"])
    assert "go without --level" in capsys.readouterr().err


def test_a_body_goes_on_from_the_features_of_another_level(model, bundle):
    assert model.early == [8]  # so that two maps pass the border
    levels, image = Levels(bundle, 1, None, 3, "interpreter", False), scenes.scenes(1, (64, 64))[0].astype("float32")
    features = levels.entry(0)(image)["features"]
    whole, behind = levels.entry(1)(image), levels.body(1)(features)
    assert set(behind) == {"boxes", "scores"}
    for name, y in behind.items():
        np.testing.assert_array_equal(y, whole[name])


def test_the_manifest_says_that_these_are_boxes(model, bundle):
    manifest = bundle.manifest
    assert manifest["task"] == "detection" and manifest["labels"] == scenes.NAMES
    assert manifest["outputs"] == {"boxes": [len(model.centres), 4], "scores": [len(model.centres), 2]}
    assert manifest["madds"]["start"] + manifest["madds"]["body"][0] == cost.madds(model, 0)
    shared_kernels = [row.kernel for row in bundle.template("entry_0").copies]
    assert len(set(shared_kernels)) < len(shared_kernels)  # the head's, folded for each stride


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "segmentation"}, "task 'detection'"),
        ({"task": None}, "task 'detection'"),
        ({"num_classes": 0}, "whole numbers"),
        ({"num_classes": 3}, "labels|a box and its scores"),
        ({"outputs": {"logits": [2]}}, "boxes and scores"),
        ({"outputs": {"boxes": [84, 4], "scores": [83, 2]}}, "a box and its scores"),
        ({"outputs": {"boxes": [84.0, 4], "scores": [84, 2]}}, "whole numbers"),
        ({"num_classes": 2, "outputs": {"boxes": [1 << 24, 4], "scores": [1 << 24, 2]}}, "at most 16777216 scores"),
    ],
)
def test_a_damaged_manifest_is_refused(bundle, change, message):
    with pytest.raises(ValueError, match=message):
        check_manifest({**copy.deepcopy(bundle.manifest), **change})


def test_graphs_must_give_what_the_manifest_says(bundle):
    twin = copy.copy(bundle)
    twin.manifest = copy.deepcopy(bundle.manifest)
    twin.manifest["outputs"] = {"boxes": [83, 4], "scores": [83, 2]}
    with pytest.raises(ValueError, match=r"entry_0 must give 83 x 4 boxes, its shape is \(1, 84, 4\)"):
        detection.Session(twin).run(np.zeros((64, 64, 3)), 0)


def test_each_session_names_the_other(path):
    with pytest.raises(ValueError, match=r"bundle of a detector: open it by ds_keras\.detection\.Session"):
        runtime.Session(path)
    with pytest.raises(ValueError, match=r"bundle of a classifier: open it by ds_keras\.runtime\.Session"):
        detection.Session(zoo.bundle("ds_mobilenet_digits"))


def test_one_file_is_a_level(bundle, tmp_path):
    (tmp_path / "level_7.tflite").write_bytes(bundle.file("entry_0"))
    session, image = detection.Session(tmp_path / "level_7.tflite"), np.zeros((64, 64, 3))
    assert session.levels == [7] and session.labels is None and session.num_classes == 2
    for found, expected in zip(session.run(image), detection.Session(bundle).run(image, 0), strict=True):
        np.testing.assert_array_equal(found, expected)
    (tmp_path / "route.tflite").write_bytes(bundle.file("route"))
    with pytest.raises(ValueError, match=r"route\.tflite is not the file of a detector"):
        detection.Session(tmp_path / "route.tflite")
    (tmp_path / "level_7.tflite").write_bytes(bundle.file("entry_0")[:5000])
    with pytest.raises(ValueError, match=r"level_7\.tflite is damaged"):
        detection.Session(tmp_path / "level_7.tflite")


def test_the_command_takes_a_bundle(path, tmp_path, capsys):
    Image.fromarray(scenes.scenes(1)[0][0]).save(tmp_path / "photo.png")
    flags = [f"--model={path}", "--threshold=0.5", str(tmp_path / "photo.png")]
    program.main("detect", flags)
    assert "red" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        program.main("detect", [*flags, "--keras"])
    assert "--model must be a folder with a preset for --keras" in capsys.readouterr().err


def test_an_int8_file_finds_nearly_the_same_boxes(model, tmp_path):
    images = scenes.scenes(8, (64, 64))[0].astype("float32")
    (path,) = detection.to_tflite(model, tmp_path, [0], "int8", images)
    heavy = {"CONV_2D", "DEPTHWISE_CONV_2D", "RESIZE_BILINEAR"}
    assert not heavy & set(flatbuffer.float_operators(path.read_bytes()))
    session, photo = detection.Session(tmp_path), images[0]
    assert session.levels == [0]
    boxes, scores = session.run(photo)
    expected = {name: np.asarray(y)[0] for name, y in model.results(model(photo[None], level=0)).items()}
    assert boxes.dtype == scores.dtype == np.float32
    assert np.median(np.diag(overlaps(boxes, expected["boxes"]))) > 0.95
    np.testing.assert_allclose(scores, expected["scores"], atol=0.05)


def test_every_level_is_evaluated_in_keras_and_in_the_bundle(model, path, tmp_path, capsys):
    pytest.importorskip("pycocotools")
    data, json = scenes.write_voc(tmp_path / "scenes", 3, size=(48, 64)), tmp_path / "figures.json"
    detection.save(model, tmp_path / "preset")
    flags = [f"--preset={tmp_path / 'preset'}", f"--data=voc:{data}", "--split=train", f"--json={json}"]
    program.main("evaluate", [*flags, f"--bundle={path}"])
    text, rows = capsys.readouterr().out, read_json(json)["levels"]
    assert all(word in text for word in ("mAP@0.5", "in LiteRT", "blue", "red")) and len(rows) == 2
    assert [row["map50"] for row in rows] == pytest.approx([row["bundle"]["map50"] for row in rows], abs=0.005)
    for flag in ("--policies=all", "--by_position", "--image_size=64"):
        with pytest.raises(SystemExit):
            program.main("evaluate", [*flags, flag])
        assert f"{flag.split('=')[0]} is for classifiers" in capsys.readouterr().err
    flags = ["detector", f"--bundle={path}", f"--data=voc:{data}", "--rounds=1", f"--json={json}"]
    program.main("benchmark", [*flags, "--milliseconds=1000000"])
    lines, rows = capsys.readouterr().out.splitlines(), read_json(json)["rows"]
    assert lines[0] == "1 photos, 1 rounds; shares of the levels 0, 1" and len(lines) == 2 + len(rows) == 5
    assert [row["mix"] for row in rows] == [[1, 0], [0, 1], [0, 1]]  # such a budget is met by the largest level
    assert all(row["ms"] > 0 for row in rows) and rows[2]["map50"] == rows[1]["map50"] == rows[1]["static"]
    for flag, message in (("--milliseconds=fast", "must be numbers"), ("--milliseconds=0.000001", "out of reach")):
        with pytest.raises(SystemExit):
            program.main("benchmark", [*flags, flag])
        assert message in capsys.readouterr().err


def test_levels_are_timed(path, capsys):
    flags = [f"--bundle={path}", "--count=2", "--rounds=3"]
    program.main("benchmark", ["bundle", *flags])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["level", "0"], ["level", "1"]] and "ratio" in lines[0]
    with pytest.raises(SystemExit):
        program.main("benchmark", ["bundle", *flags, "--static=MobileNetV2"])
    assert "are for bundles of classifiers" in capsys.readouterr().err


def test_bad_arguments_are_named(path, tmp_path):
    session = detection.Session(path)
    with pytest.raises(ValueError, match=r"level must be one of \[0, 1\], received True"):
        session.run(np.zeros((64, 64, 3)), True)
    with pytest.raises(ValueError, match="image must have shape"):
        session.run(np.zeros((32, 64, 3)))
    with pytest.raises(ValueError, match="keep must be a positive integer"):
        detection.Session(tmp_path, keep=0)


def test_many_classes_and_broken_numbers_cost_little():
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.uniform(0, 1, (600, 2, 2)), axis=1).reshape(600, 4)
    boxes[0] = np.nan
    scores = rng.uniform(0.5, 1, (600, 2000)).astype("float32")
    scores[0], scores[1] = 1, np.nan
    found = choose(boxes, scores, threshold=0.5)
    assert len(found) == 100 and np.isfinite(found.boxes).all() and found.scores.min() > 0.99
