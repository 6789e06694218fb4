import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from ds_keras.data import augmentation, mixup, random_resized_crop, resize_and_crop
from ds_keras.data.augment import basic as augment
from ds_keras.data.augment import trivial
from ds_keras.data.augment.crop import random_boxes, random_resized_crop_one

SPECS = (
    "",
    "flip",
    "pad_crop:2",
    "shift:3",
    "erase:0.5",
    "erase:1:0.1:0.2",
    "trivial",
    "rand:2:9",
    "flip,trivial,erase",
)
SEED = tf.constant([3, 4], tf.int64)


@pytest.fixture(scope="module")
def images():
    return np.random.RandomState(0).randint(0, 256, (64, 12, 10, 3)).astype("float32")


@pytest.fixture(scope="module")
def graphs():
    return {spec: tf.function(augmentation(spec)) for spec in SPECS}


@settings(max_examples=12, deadline=None)
@given(spec=st.sampled_from(SPECS), seed=st.tuples(st.integers(0, 2**31), st.integers(0, 2**62)))
def test_pure_and_in_range(graphs, images, spec, seed):
    seed = tf.constant(seed, tf.int64)
    first, second = graphs[spec](images, seed).numpy(), graphs[spec](images, seed).numpy()
    np.testing.assert_array_equal(first, second)
    assert first.shape == images.shape and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 255 and np.isfinite(first).all()
    if spec:
        assert (graphs[spec](images, seed + 1).numpy() != first).any()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", [(1, 5, 5, 1), (3, 1, 7, 3)])
def test_odd_shapes(spec, shape):
    assert augmentation(spec)(tf.ones(shape), SEED).shape == shape


def test_unknown_batch_size(images):
    for spec in SPECS:
        graph = tf.function(
            augmentation(spec), input_signature=[tf.TensorSpec([None, 12, 10, 3]), tf.TensorSpec([2], tf.int64)]
        )
        assert graph(images[:5], SEED).shape == (5, 12, 10, 3)


def test_flip(images):
    out = augment.flip(images, SEED).numpy()
    mirrored = (out == images[:, :, ::-1]).all((1, 2, 3))
    assert ((out == images).all((1, 2, 3)) ^ mirrored).all() and 16 < mirrored.sum() < 48
    np.testing.assert_array_equal(augment.flip(images, SEED, 1.0), images[:, :, ::-1])


def test_pad_crop_and_shift_move_whole_images(images):
    black = np.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]])
    edge = np.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="edge")
    for out, padded in ((augment.pad_crop(images, SEED, 2), black), (augment.shift(images, SEED, 2), edge)):
        moves = set()
        for image, frame in zip(out.numpy(), padded, strict=True):
            found = [(y, x) for y in range(5) for x in range(5) if (image == frame[y : y + 12, x : x + 10]).all()]
            assert len(found) == 1
            moves.add(found[0])
        assert len(moves) > 15
    np.testing.assert_array_equal(augment.pad_crop(images, SEED, 0), images)


def test_erasing_is_one_rectangle_of_the_wanted_area():
    images = np.full([256, 40, 40, 1], -1, "float32")
    out = augment.random_erasing(images, SEED, 0.5, area=(0.1, 0.2), aspect=(0.5, 2.0)).numpy()
    erased = (out != -1)[..., 0]
    touched = erased.any((1, 2))
    assert 90 < touched.sum() < 166
    for mask in erased[touched]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 0.09 < mask.mean() < 0.22 and 0.45 < len(rows) / len(columns) < 2.2
    noise = out[out != -1]
    assert 120 < noise.mean() < 135 and noise.std() > 65


@pytest.mark.parametrize("name", list(trivial.OPERATIONS))
def test_operations(images, name):
    """Strength 0 changes nothing (autocontrast apart), strength 1 does (identity apart)."""
    images = images / 2 + 40
    operation, ones = trivial.OPERATIONS[name], np.ones(64, "float32")
    for ranges in (trivial.WIDE, trivial.NARROW):
        for sign in (-1, 1):
            assert np.any(operation(images, sign * ones, ranges) != images) == (name != "identity")
        if name not in ("autocontrast", "posterize"):
            np.testing.assert_allclose(operation(images, 0 * ones, ranges), images, atol=1e-3)
    assert operation(images[:0], ones[:0], trivial.WIDE).shape == (0, 12, 10, 3)


def test_operations_match_their_definition(images):
    ones = np.ones(64, "float32")
    by_name = {
        name: lambda x, s, f=f: np.asarray(f(x, s * ones, trivial.WIDE)) for name, f in trivial.OPERATIONS.items()
    }
    moved = by_name["translate_x"](images, 0.3)
    np.testing.assert_allclose(moved[:, :, 3:], images[:, :, :-3], atol=1e-3)
    np.testing.assert_array_equal(moved[:, :, :3], 0)
    square = images[:, :10]
    np.testing.assert_allclose(by_name["rotate"](square, -2 / 3), np.rot90(square, -1, (1, 2)), atol=0.1)
    np.testing.assert_allclose(by_name["brightness"](images, -0.5), images * (1 - 0.99 / 2), rtol=1e-5)
    assert np.ptp(by_name["colour"](images, -1.0), axis=-1).max() < 3
    assert by_name["contrast"](images, -1.0).std((1, 2, 3)).max() < 2
    np.testing.assert_array_equal(by_name["posterize"](images, 1.0) % 64, 0)
    np.testing.assert_array_equal(by_name["solarize"](images, 1.0), 255 - images)
    stretched = by_name["autocontrast"](images / 4 + 30, 1.0)
    np.testing.assert_allclose(stretched.min((1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(stretched.max((1, 2)), 255, atol=1e-3)
    flat = np.full([64, 4, 4, 3], 77, "float32")
    np.testing.assert_array_equal(by_name["autocontrast"](flat, 1.0), flat)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(1, 40), width=st.integers(1, 40), low=st.floats(0.05, 1.0))
def test_crop_boxes_lie_inside(seed, height, width, low):
    boxes = random_boxes(tf.constant([seed, 0]), 100, height, width, (low, 1.0)).numpy()
    top, left, rows, columns = boxes.T
    assert (boxes[:, :2] >= 0).all() and (rows >= 1).all() and (columns >= 1).all()
    assert (top + rows <= height + 1e-3).all() and (left + columns <= width + 1e-3).all()


def test_random_resized_crop(images):
    out = random_resized_crop(images, SEED, (8, 8), (0.3, 1.0)).numpy()
    assert out.shape == (64, 8, 8, 3) and out.min() >= 0 and out.max() <= 255
    np.testing.assert_array_equal(out, random_resized_crop(images.astype("uint8"), SEED, (8, 8), (0.3, 1.0)))
    ramp = np.broadcast_to(np.arange(16, dtype="float32")[:, None, None], [4, 16, 16, 1])
    whole = random_resized_crop(ramp, SEED, (16, 16), (1.0, 1.0)).numpy()
    assert (np.diff(whole[..., 0], axis=1) > 0).all() and whole.min() >= 0 and whole.max() <= 15
    assert random_resized_crop_one(images[0], SEED, (5, 7), (0.3, 1.0)).shape == (5, 7, 3)


def test_resize_and_crop():
    image = np.zeros([20, 40, 3], "uint8")
    image[:, 8:32] = 200
    np.testing.assert_array_equal(resize_and_crop(image, (10, 10)), np.full([10, 10, 3], 200, "float32"))
    assert resize_and_crop(image[None], (64, 30), 0.875).shape == (1, 64, 30, 3)
    same = resize_and_crop(image, (20, 40))
    np.testing.assert_array_equal(same, image)
    assert same.dtype == tf.float32


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0])
def test_mixup(images, alpha):
    labels = np.arange(64) % 5
    mixed, soft = mixup(images, labels, SEED, 5, alpha)
    assert mixed.shape == images.shape and soft.shape == (64, 5) and soft.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(soft, 1), 1, rtol=1e-5)
    assert np.isfinite(mixed).all() and mixed.numpy().min() >= 0 and mixed.numpy().max() <= 255.001
    np.testing.assert_array_equal(mixed, mixup(images, labels, SEED, 5, alpha)[0])
    with pytest.raises(ValueError, match=r"alpha must be above 0"):
        mixup(images, labels, SEED, 5, 0.0)


BAD = (
    "turn flip:2 flip:nan pad_crop pad_crop:1.5 pad_crop:inf shift:-1 flip,rrc rrc:0 rrc:0.5:0.2 rrc:0.1:0.2:0.3 "
    "rand:2 rand:0:9 rand:2:11 erase:x erase:0.5:0.1:2 erase:0.1:0.2:0.3:0.4 trivial:1"
)


@pytest.mark.parametrize("spec", BAD.split())
def test_recipe_errors_list_what_is_allowed(spec):
    with pytest.raises(ValueError, match=r"is not allowed: use rrc\[.*pad_crop:pixels.*trivial"):
        augmentation(spec)


def test_recipe():
    assert augmentation(None).operations == () and augmentation("").crop_area is None
    assert augmentation("rrc:0.35,flip").crop_area == (0.35, 1.0)
    assert len(augmentation(" flip , pad_crop:4, erase:0.25").operations) == 3
