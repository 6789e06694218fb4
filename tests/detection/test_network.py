import keras
import numpy as np
import pytest
import tensorflow as tf

from ds_keras import cost, models, training
from ds_keras.detection import DSDetector, losses
from ds_keras.detection.data import pipeline
from tests.detection import scenes


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = scenes.detector((64, 96))
    model.build()
    return model


@pytest.fixture(scope="module")
def images():
    return scenes.scenes(2, (64, 96))[0]


def test_every_level_gives_a_row_for_every_location(model, images):
    locations = 8 * 12 + 4 * 6 + 2 * 3
    outputs = [np.asarray(model(images, level=k)) for k in (0, 1)]
    assert [y.shape for y in outputs] == [(2, locations, 6)] * 2
    assert not np.allclose(*outputs, atol=1e-3)
    np.testing.assert_array_equal(model(images), outputs[1])
    np.testing.assert_allclose(model(images, level=tf.constant(0)), outputs[0], atol=1e-5)
    assert model.widths == [8, 16]
    assert cost.madds(model, 0) < 0.8 * cost.madds(model, 1)


def test_an_untrained_head_gives_boxes_around_its_locations(model, images):
    boxes, _ = model.decode(np.zeros((1, len(model.centres), 6), "float32"))
    boxes = np.asarray(boxes)[0] * [96, 64, 96, 64]
    np.testing.assert_allclose(boxes[0], [4 - 16, 4 - 16, 4 + 16, 4 + 16], rtol=1e-5)
    np.testing.assert_allclose(boxes[-1], [80 - 64, 48 - 64, 80 + 64, 48 + 64], rtol=1e-5)
    assert np.asarray(tf.sigmoid(model(images)[..., 4:])).max() < 0.05


def test_no_box_is_found_before_training(model, images):
    found = model.detect(list(images), level=0)
    assert len(found) == 2 and len(found[0]) == 0
    some = model.detect(images[0], threshold=0.0, most=7)
    assert len(some[0]) == 7 and some[0].names[0] in scenes.NAMES
    assert some[0].boxes.min() >= 0 and some[0].boxes.max() <= 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strides": (8, 64)}, r"strides must be at least two of \[2, 4, 8, 16, 32\]"),
        ({"strides": (8,)}, "strides"),
        ({"width": 4}, "width must be at least 8"),
        ({"labels": None}, "num_classes or labels"),
    ],
)
def test_bad_arguments_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        scenes.detector(**given)


def test_backbones_must_have_features_at_several_strides():
    with pytest.raises(ValueError, match="sides that 32 divides"):
        scenes.detector((64, 80))
    with pytest.raises(ValueError, match="strides"):
        DSDetector(models.DSViT.cifar(10), 2)
    with pytest.raises(ValueError, match="supernet"):
        DSDetector(keras.Sequential(), 2)


def test_other_ways_of_use_name_the_right_one(model):
    with pytest.raises(ValueError, match="detect"):
        model.classify("photo.jpg")
    with pytest.raises(ValueError, match="DetectorTrainer"):
        model.fit(None)


def test_a_copy_gives_the_same(model, images):
    twin = model.clone()
    np.testing.assert_array_equal(twin(images, level=0), model(images, level=0))
    assert len(twin.weights) == len(model.weights)
    assert DSDetector(scenes.backbone(), num_classes=1).num_classes == 1


def locations_of(model, box, classes):
    targets = losses.assign(model, tf.constant([box], tf.float32), tf.constant([classes], tf.int32))
    return np.asarray(targets.classes)[0], np.asarray(targets.boxes)[0]


def test_locations_near_the_centre_find_a_box_at_the_stride_that_suits_it(model):
    small, large = [10, 10, 30, 30], [0, 4, 90, 60]  # pixels of 96x64
    boxes = np.array([small, large, [0, 0, 0, 0]]) / [96, 64, 96, 64]
    classes, found = locations_of(model, boxes, [1, 0, pipeline.NOTHING])
    for k, stride, box in ((1, 8, small), (0, 16, large)):
        mine = classes == k
        assert mine.any() and (model.reaches[mine, 0] == stride).all()
        middle = np.add(box[:2], box[2:]) / 2
        near = (np.abs(model.centres - middle) <= 1.5 * stride).all(axis=1) & (model.reaches[:, 0] == stride)
        np.testing.assert_array_equal(mine, near)
        np.testing.assert_allclose(found[mine], np.tile(boxes[1 - k], (mine.sum(), 1)), rtol=1e-6)


def test_a_tiny_box_has_a_location_and_the_smaller_of_two_boxes_wins(model):
    tiny, around = np.array([33, 33, 35, 36]) / [96, 64, 96, 64], np.array([16, 16, 56, 56]) / [96, 64, 96, 64]
    classes, _ = locations_of(model, [around, tiny], [0, 1])
    assert (classes == 1).any() and (classes == 0).any()


def test_ignored_boxes_are_neither_found_nor_background(model):
    box = np.array([16, 16, 56, 56]) / [96, 64, 96, 64]
    classes, _ = locations_of(model, [box], [pipeline.IGNORED])
    inside = ((model.centres >= 16) & (model.centres <= 56)).all(axis=1)
    np.testing.assert_array_equal(classes == pipeline.IGNORED, inside)


def test_a_perfect_answer_has_nearly_no_loss(model):
    box = np.array([16, 16, 56, 56]) / [96, 64, 96, 64]
    targets = losses.assign(model, tf.constant([[box]], tf.float32), tf.constant([[1]]))
    pixels = np.array([16, 16, 56, 56])
    raw = np.full((1, len(model.centres), 6), -20.0, "float32")
    raw[..., :2] = np.log(np.maximum(model.centres - pixels[:2], 1e-2) / (2 * model.reaches))
    raw[..., 2:4] = np.log(np.maximum(pixels[2:] - model.centres, 1e-2) / (2 * model.reaches))
    raw[0, np.asarray(targets.classes)[0] >= 0, 5] = 20
    found = losses.loss_of(model, raw, targets, None, 0.0)
    assert float(found.loss) < 1e-3 and float(found.overlap) > 0.999
    raw[..., 5] = -20
    assert float(losses.loss_of(model, raw, targets, None, 0.0).loss) > 1


def test_the_backbone_is_copied_without_its_classifier():
    backbone = scenes.backbone()
    backbone.build()
    model = DSDetector(backbone, labels=scenes.NAMES, width=16)
    model.build()
    first, second = (
        {tuple(v.path.split("/")[-2:]): v.numpy() for v in own.weights} for own in (backbone, model.backbone)
    )
    assert {"classifier", "last"} <= {name for name, _ in first.keys() - second.keys()}
    assert len(second) > 40
    for name, value in second.items():
        np.testing.assert_array_equal(value, first[name])


def test_a_rare_class_counts_more_and_a_teacher_may_have_seen_a_part_of_the_batch(model):
    box = np.array([16, 16, 56, 56]) / [96, 64, 96, 64]
    targets = losses.assign(model, tf.constant([[box]] * 2, tf.float32), tf.constant([[1]] * 2))
    raw = np.zeros((2, len(model.centres), 6), "float32")
    plain, same, rare = (
        losses.loss_of(model, raw, targets, None, 0.0, weights) for weights in (None, (3.0, 1.0), (1.0, 3.0))
    )
    assert float(plain.loss) == float(same.loss) > float(rare.loss)  # background counts less beside it
    teacher = losses.Found(plain.boxes[:1], plain.scores[:1], plain.loss, plain.overlap)
    assert float(losses.loss_of(model, raw, targets, teacher, 0.0).loss) == pytest.approx(float(plain.loss), rel=1e-6)
    taught = losses.loss_of(model, raw, targets, teacher, 1.0).loss  # the first image asks for what is given
    assert np.isfinite(taught) and float(taught) < float(plain.loss)


def test_statistics_of_every_level_are_measured(model, images):
    twin = model.clone()
    before = [np.asarray(twin(images, level=k)) for k in (0, 1)]
    training.calibrate_batch_norm(twin, [images])
    assert not any(np.allclose(old, twin(images, level=k), atol=1e-3) for k, old in enumerate(before))
