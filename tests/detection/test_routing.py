"""The cascade of a detector on predictions that are known, and in a session."""

import json

import numpy as np
import pytest
import shared

from ds_keras import detection
from ds_keras.cli import program
from ds_keras.detection import DetectionCascade, Detections, routing
from ds_keras.detection.data.source import Boxes
from ds_keras.detection.routing.confidence import CONFIDENCES, confidence
from ds_keras.policies.base import RoutingSpec
from ds_keras.policies.budget_table import BudgetTable
from ds_keras.runtime import manifest
from tests.detection.test_data import write_pack

SPEC = RoutingSpec(10.0, 0.0, (10.0, 40.0, 90.0), (0, 2))
BOX, OTHER = [0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]


def found(*rows):
    boxes = np.array([[*box, score] for box, score in rows], "float32").reshape(-1, 5)
    return Detections(boxes[:, :4], boxes[:, 4], np.zeros(len(boxes), int))


def predictions(seed=0, count=40):
    """The smallest level misses the thing on a third of the images, and is in doubt there; the largest finds all."""
    rng = np.random.default_rng(seed)
    hard = rng.uniform(size=count) < 1 / 3
    truth = [Boxes(np.array([BOX]), np.array([0]), np.array([False]))] * count
    sure = [found((BOX, rng.uniform(0.9, 1))) for _ in range(count)]
    unsure = [found((OTHER, rng.uniform(0.4, 0.6))) for _ in range(count)]
    middle = [unsure[i] if hard[i] and i % 2 else sure[i] for i in range(count)]
    small = [unsure[i] if hard[i] else sure[i] for i in range(count)]
    return routing.Predictions([small, middle, list(sure)], list(truth), ["thing"], SPEC), hard


@pytest.mark.parametrize("name", CONFIDENCES)
def test_a_level_is_sure_of_boxes_without_doubt(name):
    scores = np.array([0.98, 0.95, 0.004], "float32")
    sure, unsure = confidence(scores, name), confidence(np.array([0.98, 0.36], "float32"), name)
    assert 0 <= unsure < sure <= 1
    assert confidence(np.zeros(0, "float32"), name) == 1  # nothing there, and nothing in doubt
    with pytest.raises(ValueError, match="confidence must be one of entropy, .*, received 'sure'"):
        confidence(scores, "sure")


def test_the_cascade_is_chosen_on_some_images_and_worth_it_on_others(tmp_path):
    pytest.importorskip("pycocotools")
    (held_out, _), (test, hard) = predictions(), predictions(1)
    cascade = routing.fit(held_out, points=11)
    assert cascade.spec.cascade == (0, 2)
    rows = cascade.budgets.of("cascade")
    assert [row.madds for row in rows][:1] == [20.0] and [row.madds for row in rows][-1] == 110.0
    levels, passes = test.routed(cascade.at(madds=20 + 90 * 0.35))
    assert abs(np.mean(levels == 2) - 0.35) < 0.12 and (levels == 2)[~hard].mean() < 0.2
    assert np.array_equal(passes[:, 2], levels == 2) and passes[:, 0].all() and not passes[:, 1].any()
    compared = {row["what"]: row for row in routing.compare(test, cascade)}
    assert list(compared)[:3] == ["level 0", "level 1", "level 2"] and compared["level 2"]["map50"] == pytest.approx(1)
    half = compared["cascade, budget 60 %"]
    assert half["map50"] > half["static"] + 0.05 and half["madds"] < 75
    assert cascade.settings == pytest.approx(cascade.at(madds=cascade.spec.largest).thresholds)
    with pytest.raises(ValueError, match="out of reach"):
        cascade.at(fraction=0.01)
    cascade.at(fraction=0.5).write(tmp_path / "routing.json")
    assert DetectionCascade.read(tmp_path / "routing.json") == cascade.at(fraction=0.5)
    text = (tmp_path / "routing.json").read_text()
    record = json.loads(text)
    (tmp_path / "routing.json").write_text(json.dumps({**record, "thresholds": [float("nan")]}))
    with pytest.raises(ValueError, match="a finite number for each level"):
        DetectionCascade.read(tmp_path / "routing.json")
    (tmp_path / "routing.json").write_text('{"format_version": 1, "start": 1, "bodies": []}')
    with pytest.raises(ValueError, match=r"routing\.json does not describe a cascade"):
        DetectionCascade.read(tmp_path / "routing.json")


def test_a_photo_runs_as_the_predictions_say():
    test, _ = predictions(count=6)
    cascade = DetectionCascade(SPEC, BudgetTable({}), thresholds=(0.7,))
    levels, passes = test.routed(cascade)
    assert set(levels) == {0, 2}
    for i in range(6):
        last, level, madds = cascade.run(
            lambda k, i=i: test.found[k][i], lambda k, i=i: test.found[k][i], lambda one: one.scores
        )
        assert level == levels[i] and last is test.found[level][i]
        assert madds == cascade.policy.madds(passes[i])


def test_the_command_chooses_on_val_and_measures_on_test(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    assert tuple(CONFIDENCES) == manifest.CONFIDENCES
    write_pack(tmp_path / "scenes.npz")
    detection.save(shared.detector(), tmp_path / "preset")
    flags = [
        f"--model={tmp_path}",
        f"--data=pack:{tmp_path}/scenes.npz",
        "--points=3",
        f"--output={tmp_path}/routing.json",
    ]
    program.main("route_detector", [*flags, "--points=3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cascade of levels 0, 1 by entropy, chosen on 1 images, measured on 1"
    assert lines[2].startswith("level 0") and any(line.startswith("cascade, budget") for line in lines)
    assert DetectionCascade.read(tmp_path / "routing.json").spec.cascade == (0, 1)
