import numpy as np
import pytest

from ds_keras.detection import Detections, average_precision, boxes
from ds_keras.detection.data.source import Boxes
from ds_keras.detection.evaluation import best_threshold
from tests.detection import scenes


def found(rows, labels=None):
    rows = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(rows[:, :4], rows[:, 4], rows[:, 5].astype(int), labels)


def test_of_overlapping_boxes_of_a_class_the_surest_stays():
    corners = np.array([[0.1, 0.1, 0.5, 0.5], [0.12, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 1.2], [0.1, 0.1, 0.5, 0.52]])
    scores = np.array([[0.6, 0.0], [0.9, 0.1], [0.5, 0.0], [0.0, 0.7]])
    kept = boxes.choose(corners, scores, threshold=0.2, labels=["a", "b"])
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7, 0.5]) and kept.names == ["a", "b", "a"]
    assert kept.boxes.max() == 1  # cut to the image
    assert len(boxes.choose(corners, scores, threshold=0.2, most=1)) == 1
    assert len(boxes.choose(corners, scores, threshold=1.0)) == 0
    with pytest.raises(ValueError, match="iou"):
        boxes.choose(corners, scores, iou=2)


def test_overlaps_are_those_of_pycocotools():
    pytest.importorskip("pycocotools")
    from pycocotools import mask

    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 100, (2, 12, 2)), axis=0)
    rows = np.concatenate([corners[0], corners[1]], axis=1)
    sides = np.concatenate([corners[0], corners[1] - corners[0]], axis=1)
    expected = mask.iou(sides[:5], sides[5:], [0] * 7)
    np.testing.assert_allclose(boxes.overlaps(rows[:5], rows[5:]), expected, atol=1e-9)


def test_average_precision_of_known_cases():
    pytest.importorskip("pycocotools")
    box, other = [0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]
    truth = [Boxes(np.array([box, other]), np.array([0, 1]), np.array([False, False]))] * 2
    perfect = [found([[*box, 0.9, 0], [*other, 0.8, 1]])] * 2
    result = average_precision(perfect, truth, ["a", "b", "absent"])
    assert result == {"map50": pytest.approx(1), "map": pytest.approx(1), "classes": {"a": 1.0, "b": 1.0}}
    half = average_precision([perfect[0], found([])], truth, ["a", "b"])
    assert half["map50"] == pytest.approx(51 / 101)  # recall 0, 0.01, ..., 0.5
    shifted = [found([[0.1, 0.1, 0.3, 0.38, 0.9, 0], [*other, 0.8, 1]])] * 2  # intersection over union 0.71
    result = average_precision(shifted, truth, ["a", "b"])
    assert result["map50"] == pytest.approx(1) and result["map"] == pytest.approx(0.75)
    false = [found([[0.6, 0.1, 0.8, 0.3, 0.95, 0], *np.c_[perfect[0].boxes, perfect[0].scores, [0, 1]]])] * 2
    assert average_precision(false, truth, ["a", "b"])["classes"] == {"a": pytest.approx(0.5), "b": 1.0}


def test_the_threshold_with_the_largest_f1():
    pytest.importorskip("pycocotools")
    box, other = [0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]
    truth = [Boxes(np.array([box, other]), np.array([0, 1]), np.array([False, False]))] * 2
    given = [found([[*box, 0.9, 0], [*other, 0.8, 1]]), found([[*box, 0.7, 0], [0.1, 0.6, 0.3, 0.8, 0.6, 1]])]
    best = best_threshold(given, truth, ["a", "b"])
    assert best == {"threshold": pytest.approx(0.7), "precision": 1.0, "recall": 0.75}
    assert best_threshold([found([])] * 2, truth, ["a", "b"])["recall"] == 0


def test_difficult_boxes_count_neither_way():
    pytest.importorskip("pycocotools")
    box, other = [0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9]
    truth = [Boxes(np.array([box, other]), np.array([0, 0]), np.array([False, True]))]
    for rows in ([[*box, 0.5, 0]], [[*box, 0.5, 0], [*other, 0.9, 0]]):
        assert average_precision([found(rows)], truth, ["a"])["map50"] == pytest.approx(1)


def test_drawn_boxes_have_the_photos_size():
    photo = scenes.scenes(1)[0][0]
    image = boxes.draw(photo, found([[0.25, 0.25, 0.75, 0.75, 0.9, 1]], ("a", "b")))
    assert image.size == (64, 48) and not np.array_equal(np.asarray(image), photo)
    assert np.array_equal(np.asarray(boxes.draw(photo, found([]))), photo)


def test_photos_are_stretched():
    photo = scenes.scenes(1)[0][0]
    assert boxes.stretched(photo, (32, 32, 3)).shape == (32, 32, 3)
    assert boxes.stretched(photo, (48, 64, 3)) is not None
    np.testing.assert_array_equal(boxes.stretched(photo, (48, 64, 3)), photo)
