import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ds_keras.data import Source, augmentation, batches, evaluation_batches, mixup

EVERYTHING = "rrc:0.3,flip,pad_crop:2,shift:1,trivial,rand:1:9,erase:0.8"
FEW = "rrc:0.3,flip,erase:0.8"  # quicker to trace


def run(*args, **kwargs):
    return list(batches(*args, **kwargs).as_numpy_iterator())


def assert_same(first, second):
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Nine images of varied sizes, encoded: a decoded-on-the-fly source."""
    encoded = []
    for i in range(9):
        pixels = np.random.RandomState(i).randint(0, 256, (9 + i, 12 - i // 2, 3)).astype("uint8")
        pixels[:] = pixels // 8 + 20 * i
        encoded.append(tf.io.encode_png(pixels).numpy())
    return Source.from_arrays(encoded, np.arange(9) % 3, ["a", "b", "c"], "files")


@pytest.mark.parametrize(
    ("augment", "batch_size", "seed", "start"),
    [
        (FEW, 7, 2**31 - 1, 8),  # that every operation is a function of its seed: tests/data/test_augment.py
        pytest.param(EVERYTHING, 7, 2**31 - 1, 8, marks=pytest.mark.slow),
        pytest.param(EVERYTHING, 1, 0, 3, marks=pytest.mark.slow),  # test_order_resumes: of any size, not augmented
        pytest.param(EVERYTHING, 64, 9, 5, marks=pytest.mark.slow),
    ],
)
def test_resume_is_exact(source, augment, batch_size, seed, start):
    whole = run(source, batch_size, seed, augment, end_step=10)
    part = run(source, batch_size, seed, augment, start_step=start, end_step=10, parallel=4)
    assert_same(whole[start:], part)


@settings(max_examples=settings.default.max_examples // 3, deadline=None)
@given(start=st.integers(0, 30), batch_size=st.integers(1, 70), seed=st.integers(0, 2**31 - 1))
def test_order_resumes(source, start, batch_size, seed):
    whole = run(source, batch_size, seed, end_step=31)
    assert_same(whole[start:], run(source, batch_size, seed, start_step=start, end_step=31))


@pytest.mark.parametrize(
    ("augment", "views"),
    [(FEW, 2), *(pytest.param(a, v, marks=pytest.mark.slow) for a in (None, EVERYTHING) for v in (1, 2))],
)
def test_resume_is_exact_where_sizes_vary(files, augment, views):
    whole = run(files, 4, 1, augment, image_size=8, end_step=8, views=views)
    part = run(files, 4, 1, augment, image_size=8, start_step=5, end_step=8, views=views, parallel=4)
    assert_same(whole[5:], part)
    assert whole[0][0].shape == ((4, 8, 8, 3) if views == 1 else (4, 2, 8, 8, 3))


def test_one_size_decoded_on_the_fly_equals_memory(source):
    encoded = [tf.io.encode_png(image).numpy() for image in source.images()]
    on_the_fly = Source.from_arrays(encoded, source.labels, source.class_names, image_shape=(8, 6, 3))
    assert not on_the_fly.in_memory
    assert_same(run(source, 16, 5, FEW, end_step=4), run(on_the_fly, 16, 5, FEW, end_step=4))


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_epoch_is_a_permutation(source, shuffle):
    """Batches of 10 span the epochs of 53 images."""
    out = run(source, 10, 7, shuffle=shuffle, end_step=16)
    names = np.concatenate([images[:, 0, 0, 0] for images, _ in out])[: 3 * 53].reshape(3, 53).astype(int)
    labels = np.concatenate([labels for _, labels in out])
    for epoch in names:
        assert sorted(epoch) == list(range(53))
    np.testing.assert_array_equal(labels[:159], source.labels[names.ravel()])
    assert (names[0] == names[1]).all() == (not shuffle)


@pytest.mark.parametrize("count", [1, 2, 3, 60_000])
def test_orders_of_epochs_and_seeds_are_unrelated(count):
    """TensorFlow's default of four rounds fails this: 0.89 between successive epochs of 60,000."""
    source = Source.from_arrays(np.zeros([count, 1, 1, 1], "uint8"), np.arange(count), range(count))
    orders = []
    for seed in (0, 1):
        labels = [labels for _, labels in run(source, count, seed, end_step=6)]
        assert all((np.sort(order) == np.arange(count)).all() for order in labels)
        orders += labels
    if count == 60_000:
        related = np.corrcoef(np.array(orders))[np.triu_indices(12, 1)]
        assert np.abs(related).max() < 0.03
        serial = [np.corrcoef(order[1:], order[:-1])[0, 1] for order in orders]
        assert np.abs(serial).max() < 0.03
    elif count > 1:
        assert len({tuple(order) for order in orders}) > 1


def test_shapes_are_static_and_endless(source):
    dataset = batches(source, 16, 0, "flip", image_size=(12, 10), views=3)
    images, labels = dataset.element_spec
    assert images.shape == (16, 3, 12, 10, 3) and images.dtype == tf.float32
    assert labels.shape == (16,) and labels.dtype == tf.int32
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert batches(source, 16, 0, end_step=9, start_step=4).cardinality() == 5
    far = next(batches(source, 16, 0, "flip", start_step=10**12).as_numpy_iterator())
    assert far[0].shape == (16, 8, 6, 3)


def test_without_augmentation_images_are_the_source_s(source):
    images, labels = run(source, 53, 3, end_step=1)[0]
    order = images[:, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(images, source.images()[order])
    np.testing.assert_array_equal(labels, source.labels[order])


def test_views_share_the_image_but_not_the_augmentation(source):
    images, _ = run(source, 32, 0, "flip", views=2, end_step=1)[0]
    mirrored = (images[:, 0] == images[:, 1, :, ::-1]).all((1, 2, 3))
    same = (images[:, 0] == images[:, 1]).all((1, 2, 3))
    assert (mirrored | same).all() and mirrored.any() and same.any()


def test_steps_and_seeds_differ(source):
    one = run(source.subset([0]), 4, 0, "erase:1", end_step=2)
    other = run(source.subset([0]), 4, 1, "erase:1", end_step=1)
    assert (one[0][0] != one[1][0]).any() and (one[0][0] != other[0][0]).any() and (one[0][0][0] != one[0][0][1]).any()


def test_custom_augmentation_and_recipe(source):
    inverted = run(source, 8, 0, lambda images, seed: 255.0 - images, end_step=1)[0][0]
    np.testing.assert_array_equal(255 - inverted, run(source, 8, 0, end_step=1)[0][0])
    assert_same(run(source, 8, 0, augmentation("flip,erase"), end_step=2), run(source, 8, 0, "flip,erase", end_step=2))


def test_evaluation_is_in_order_with_a_short_last_batch(source):
    dataset = evaluation_batches(source, 20)
    out = list(dataset.as_numpy_iterator())
    assert [len(labels) for _, labels in out] == [20, 20, 13] and dataset.cardinality() == 3
    np.testing.assert_array_equal(np.concatenate([images for images, _ in out]), source.images())
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in out]), source.labels)
    assert dataset.element_spec[0].shape == (None, 8, 6, 3)


def test_evaluation_resizes_as_images_does(source, files):
    for each, fraction in ((source, 1.0), (files, 0.875)):
        batched = np.concatenate([x for x, _ in evaluation_batches(each, 4, image_size=7).as_numpy_iterator()])
        np.testing.assert_array_equal(batched, each.images(size=7, crop_fraction=fraction))


def test_errors(source, files):
    for key, value in {"batch_size": 0, "seed": -1, "views": 0, "parallel": 0, "start_step": -1}.items():
        with pytest.raises(ValueError, match=rf"{key} must be an integer of at least"):
            batches(source, **{"batch_size": 4, "seed": 0, key: value})
    with pytest.raises(ValueError, match=r"end_step must be an integer of at least 5"):
        batches(source, 4, 0, start_step=5, end_step=4)
    with pytest.raises(ValueError, match=r"seed must be"):
        batches(source, 4, 2**31)
    with pytest.raises(ValueError, match=r"image_size is needed"):
        batches(files, 4, 0)
    with pytest.raises(ValueError, match=r"image_size must be a positive"):
        batches(source, 4, 0, image_size="big")
    with pytest.raises(ValueError, match=r"crop_fraction must be"):
        evaluation_batches(source, 4, image_size=4, crop_fraction=0)


def test_mixup_mixes_the_augmented_batch(source):
    """Labels become probabilities; the batch is mixed after it was augmented, and resumes."""
    whole = run(source, 8, 3, "flip", end_step=5, mixup=0.4)
    plain = run(source, 8, 3, "flip", end_step=5)
    classes = len(source.class_names)
    for step, ((mixed, soft), (images, labels)) in enumerate(zip(whole, plain, strict=True)):
        assert mixed.shape == images.shape and mixed.dtype == "float32" and soft.shape == (8, classes)
        np.testing.assert_allclose(soft.sum(1), 1, atol=1e-6)
        expected = mixup(images, labels, [3 * 4 + 3, step], classes, 0.4)
        np.testing.assert_allclose(mixed, expected[0], rtol=1e-6)
        np.testing.assert_allclose(soft, expected[1], rtol=1e-6)
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(whole, plain, strict=True))
    assert_same(whole[2:], run(source, 8, 3, "flip", start_step=2, end_step=5, mixup=0.4))


def test_mixup_of_views_is_refused(source):
    with pytest.raises(ValueError, match=r"mixup must be 0 with more than one view, received mixup=0.4 and views=2"):
        batches(source, 8, 0, views=2, mixup=0.4)
