import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano, pair, same, snapshot

from ds_keras.models.mobilenet import Stage
from ds_keras.training import calibrate_batch_norm

X = images(30)
WIDE = {"stem": (4, 6), "stages": (Stage(6, 1, teacher=8), Stage((4, 6, 8), 1, 2, gate=True))}


def batches(size=10):
    return tf.data.Dataset.from_tensor_slices(X).batch(size)


def stem_statistics(model, channels, size=10):
    """Statistics of the stem's output over the batches: mean of means, pooled unbiased variance."""
    kernel = array(model.stem.kernel)[..., :channels]
    y = np.asarray(keras.ops.conv((X - 127.5) / 127.5, kernel, strides=2, padding="same"), "float64")
    parts = y.reshape(len(X) // size, -1, channels)
    means, variances = parts.mean(1), parts.var(1, ddof=1)
    mean = means.mean(0)
    return mean, (variances + means**2).mean(0) - mean**2


def test_first_norm_by_hand():
    model = nano(**WIDE)
    assert calibrate_batch_norm(model, batches()) == 3
    for row, channels in ((0, 4), (1, 6)):
        mean, variance = stem_statistics(model, channels)
        close(array(model.stem_norm.moving_mean)[row, :channels], mean, tolerance=1e-5)
        close(array(model.stem_norm.moving_variance)[row, :channels], variance, tolerance=1e-5)


@pytest.mark.parametrize("layout", [pytest.param({}, id="same", marks=pytest.mark.slow), pytest.param(WIDE, id="wide")])
def test_one_batch_equals_a_training_pass_without_memory(layout):
    """With momentum 0 a training pass stores the batch's own statistics: for every level, in every norm."""
    model, twin = nano(bn_momentum=0.0, **layout), nano(bn_momentum=0.0, **layout)
    before = snapshot(model)
    calibrate_batch_norm(model, [X])
    for level in {level.index: level for level in (*twin.levels, twin.teacher_level)}.values():
        twin(X, level=level, training=True)
    for a, b in zip(model.weights, twin.weights, strict=True):
        close(a, b, tolerance=1e-5)
        if not a.path.split("/")[-1].startswith("moving"):
            same(a, before[a.path])
    assert np.all(array(model.blocks[-1].norm2.moving_mean)[-1] != before[model.blocks[-1].norm2.moving_mean.path][-1])


def test_only_the_named_levels():
    model = nano()
    before = snapshot(model)
    calibrate_batch_norm(model, batches(), levels=[1])
    norm = model.blocks[-1].norm1
    changed = np.any(array(norm.moving_mean) != before[norm.moving_mean.path], axis=1)
    assert changed.tolist() == [False, True, False]
    same(array(norm.moving_mean)[1, 6:], before[norm.moving_mean.path][1, 6:])


@pytest.mark.parametrize("data", [[(X, np.zeros(30))], tf.data.Dataset.from_tensors((X, np.zeros(30)))])
def test_kinds_of_datasets_agree(data):
    model, twin = pair(), pair()
    assert calibrate_batch_norm(model, data, levels=[0]) == 1
    calibrate_batch_norm(twin, tf.data.Dataset.from_tensors(X), levels=[0])
    for a, b in zip(model.weights, twin.weights, strict=True):
        same(a, b)


def test_uint8_images_and_a_smaller_last_batch():
    model, twin = pair(), pair()
    whole = X.astype("uint8")
    assert calibrate_batch_norm(model, tf.data.Dataset.from_tensor_slices(whole).batch(12), levels=[0]) == 3
    calibrate_batch_norm(twin, tf.data.Dataset.from_tensor_slices(whole.astype("float32")).batch(12), levels=[0])
    for a, b in zip(model.weights, twin.weights, strict=True):
        same(a, b)


def test_a_small_last_batch_weighs_as_much_as_its_images():
    """The first norm reads the images alone: however they are cut into batches, its statistics are theirs."""
    model, twin = pair(), pair()
    assert calibrate_batch_norm(model, tf.data.Dataset.from_tensor_slices(X).batch(29), levels=[0]) == 2
    calibrate_batch_norm(twin, [X], levels=[0])
    for name in ("moving_mean", "moving_variance"):
        close(array(getattr(model.stem_norm, name)), array(getattr(twin.stem_norm, name)), tolerance=2e-3)


def test_empty_dataset():
    model = pair()
    before = model.get_weights()
    with pytest.raises(ValueError, match="dataset must hold at least one batch"):
        calibrate_batch_norm(model, [])
    for a, b in zip(model.get_weights(), before, strict=True):
        same(a, b)


def test_an_iterator_that_can_run_once_only_is_refused():
    with pytest.raises(ValueError, match="iterat"):
        calibrate_batch_norm(pair(), iter([X]))


def test_calibration_brings_training_and_inference_together():
    model = nano()
    calibrate_batch_norm(model, [X])
    for level in range(3):
        close(model(X, level=level), model.clone()(X, level=level, training=True), tolerance=0.05)
