"""Trained weights with a new classifier: the head, and the order of the channels, before Stage I."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from helpers import array, nano_resnet, nano_v2, nano_vit

from ds_keras import data
from ds_keras.data import Source
from ds_keras.experiments.pretrained import prepare, train_head


def source(count=300, classes=3):
    """Images whose brightness is their class."""
    labels = np.arange(count) % classes
    pixels = np.random.default_rng(0).integers(0, 60, (count, 8, 8, 1)) + 60 * labels[:, None, None, None]
    return Source.from_arrays(pixels.astype("uint8"), labels, [f"class {k}" for k in range(classes)], "photos")


@pytest.mark.parametrize(
    "make", [nano_v2, *(pytest.param(make, marks=pytest.mark.slow) for make in (nano_resnet, nano_vit))]
)
def test_the_head_learns_and_leaves_the_network(make):
    model = make()
    before = {w.path: array(w) for w in model.trainable_weights}
    batches = data.batches(source(), 60, 0, end_step=5)
    train_head(model, batches)
    moved = {w.path for w in model.trainable_weights if not np.array_equal(before[w.path], array(w))}
    assert moved == {w.path for w in model.classifier.weights}
    images = source()
    for level in range(3):
        assert (array(model(images.images(), level=level)).argmax(1) == images.labels).mean() > 0.6


def run(model, workdir, head_images=0, order_images=0):
    """As much of a run as ``prepare`` looks at."""
    stage1 = SimpleNamespace(trainer={"frozen_start": True})
    experiment = SimpleNamespace(name="a", head_images=head_images, order_images=order_images, stage1=stage1)

    def batches(size, augment, first, last):
        return data.batches(source(), size, 0, augment=augment, start_step=first, end_step=last)

    parts = {"model": model, "workdir": workdir, "experiment": experiment, "plain_batches": batches}
    return SimpleNamespace(**parts, strategy=tf.distribute.get_strategy())


def weights(model):
    return {w.path: array(w) for w in model.weights}


def test_a_run_begins_with_head_and_order_where_it_asks(tmp_path):
    model = nano_v2()
    before = weights(model)
    prepare(run(model, tmp_path))
    assert all(np.array_equal(before[path], value) for path, value in weights(model).items())
    prepare(run(model, tmp_path, head_images=200))
    headed = weights(model)
    classifier = {w.path for w in model.classifier.weights}
    kernels = {path for path in before if path.endswith("kernel")}
    assert {path for path in kernels if not np.array_equal(before[path], headed[path])} == classifier & kernels
    x = source(8).images()
    logits = array(model(x, level=2))
    prepare(run(model, tmp_path, order_images=100))
    np.testing.assert_allclose(array(model(x, level=2)), logits, atol=1e-4)  # the largest level: the same network
    assert any(not np.array_equal(headed[path], value) for path, value in weights(model).items())


def test_a_run_that_goes_on_keeps_what_it_has(tmp_path):
    model = nano_v2()
    before = weights(model)
    (tmp_path / "stage1").mkdir()
    (tmp_path / "stage1" / "step-000000001.npz").touch()
    prepare(run(model, tmp_path, head_images=200, order_images=100))
    assert all(np.array_equal(before[path], value) for path, value in weights(model).items())
