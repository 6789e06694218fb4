import numpy as np
import pytest
import tensorflow as tf
from helpers import in_graph, same
from hypothesis import given, settings
from hypothesis import strategies as st

from ds_keras.core.levels import SliceLevel, check_level, slice_kernel, slice_size

TENSOR_ERROR = tf.errors.InvalidArgumentError
RATIOS = st.floats(1e-6, 1, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(size=st.integers(1, 2000), ratio=RATIOS, divisor=st.integers(1, 32))
def test_float_and_tensor_ratios_give_equal_sizes(size, ratio, divisor):
    asked = slice_size(size, ratio, divisor)
    assert isinstance(asked, int)
    assert min(divisor, size) <= asked <= size
    assert asked % divisor == 0 or asked == size
    for dtype in (tf.float32, tf.float64):
        tensor = slice_size(size, tf.constant(ratio, dtype), divisor)
        assert tensor.dtype == tf.int32
        assert int(tensor) == asked


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, 2000), ratios=st.tuples(RATIOS, RATIOS), divisor=st.integers(1, 32))
def test_size_never_falls_as_the_ratio_rises(size, ratios, divisor):
    low, high = sorted(ratios)
    assert slice_size(size, low, divisor) <= slice_size(size, high, divisor)


@settings(max_examples=200, deadline=None)
@given(size=st.integers(1, 2000), divisor=st.integers(1, 32))
def test_ratio_one_is_the_full_size(size, divisor):
    assert slice_size(size, 1.0, divisor) == size
    assert int(slice_size(size, tf.constant(1.0), divisor)) == size


@pytest.mark.parametrize("full", [64, 640, 1152, 2000])
def test_a_ratio_made_from_a_size_gives_the_size_back(full):
    for size in range(1, full + 1, 7):
        assert slice_size(full, size / full) == size
        assert int(slice_size(full, tf.constant(size / full))) == size


@pytest.mark.parametrize(
    ("size", "ratio", "divisor", "expected"),
    [(64, 0.3, 8, 16), (5, 0.7, 1, 4), (10, 0.05, 1, 1), (10, 0.01, 4, 4), (10, 1, 4, 10), (3, 0.5, 8, 3)],
)
def test_known_sizes(size, ratio, divisor, expected):
    assert slice_size(size, ratio, divisor) == expected
    assert int(slice_size(size, tf.constant(ratio, tf.float32), divisor)) == expected


@pytest.mark.parametrize("ratio", [0, -0.5, 1.5, np.nan, np.inf, -np.inf, "x", None, [0.5, 0.5]])
def test_bad_python_ratio(ratio):
    with pytest.raises(ValueError, match=r"slice_ratio must be in \(0, 1\], received"):
        slice_size(8, ratio)


@pytest.mark.parametrize("ratio", [0.0, -0.5, 1.5, np.nan, np.inf])
def test_bad_tensor_ratio(ratio):
    with pytest.raises(TENSOR_ERROR, match="slice_ratio must be in"):
        slice_size(8, tf.constant(ratio))
    with pytest.raises(TENSOR_ERROR, match="slice_ratio must be in"):
        in_graph(lambda r: slice_size(8, r))(tf.constant(ratio))


def test_a_ratio_tensor_must_be_a_scalar():
    with pytest.raises(ValueError, match="scalar"):
        slice_size(8, tf.constant([0.5]))


@pytest.mark.parametrize("level", [2, np.int64(2), np.uint8(2), np.array(2)])
def test_level_from_integers(level):
    checked = check_level(level, 4)
    assert checked == 2
    assert type(checked) is int


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.uint8])
def test_level_from_tensors(dtype):
    checked = check_level(tf.constant(3, dtype), 4)
    assert check_level(checked, 4) is checked
    assert checked.tensor.dtype == tf.int32
    assert int(checked.tensor) == 3
    assert int(in_graph(lambda level: check_level(level, 4).tensor)(tf.constant(0, dtype))) == 0
    assert int(checked.pick([5, 6, 7, 8])) == 8
    assert checked.pick([5, 5, 5, 5]) == 5
    with pytest.raises(ValueError, match="only 3 are known here"):
        check_level(checked, 3)


@pytest.mark.parametrize("level", [True, False, 1.0, np.float32(1), "1", None, -1, 4, np.int64(4)])
def test_bad_python_level(level):
    with pytest.raises(ValueError, match=r"level must be an integer in \[0, 4\), received"):
        check_level(level, 4)


@pytest.mark.parametrize("level", [-1, 4])
def test_level_tensor_out_of_range(level):
    with pytest.raises(TENSOR_ERROR, match="level must be in"):
        check_level(tf.constant(level), 4)
    with pytest.raises(TENSOR_ERROR, match="level must be in"):
        in_graph(lambda value: check_level(value, 4).tensor)(tf.constant(level))


@pytest.mark.parametrize("level", [tf.constant(1.0), tf.constant([1]), tf.constant(True)])
def test_level_tensor_of_wrong_type(level):
    with pytest.raises(ValueError, match="level must be a scalar integer"):
        check_level(level, 4)


@pytest.mark.parametrize("sizes", [(3, 3, 5, 7), (3, 3, 1, 1), (3, 3, 6, 8)])
def test_slice_kernel_keeps_a_prefix(rng, sizes):
    kernel = rng.normal(size=(3, 3, 6, 8)).astype("float32")
    expected = kernel[:, :, : sizes[2], : sizes[3]]
    cut = slice_kernel(kernel, sizes)
    same(cut, expected)
    assert tuple(cut.shape) == sizes
    same(in_graph(lambda a, b: slice_kernel(kernel, [3, 3, a, b]))(*map(tf.constant, sizes[2:])), expected)


@pytest.mark.parametrize(("size", "begin"), [(7, 0), (5, 1), (3, 2), (1, 3), (4, 1)])
def test_slice_kernel_crops_around_the_centre(rng, size, begin):
    kernel = rng.normal(size=(7, 7, 4, 4)).astype("float32")
    expected = kernel[begin : begin + size, begin : begin + size, :2]
    same(slice_kernel(kernel, [size, size, 2, 4], centre=(0, 1)), expected)
    same(slice_kernel(kernel, [tf.constant(size), tf.constant(size), 2, 4], centre=(0, 1)), expected)


@pytest.mark.parametrize("sizes", [(4, 3), (0, 4), (3, 5), (-1, 4), (2, 2, 2)])
def test_slice_kernel_sizes_must_fit(sizes):
    with pytest.raises(ValueError, match="sizes must lie within the kernel's shape"):
        slice_kernel(tf.ones([3, 4]), sizes)


def test_slice_kernel_tensor_size_must_fit():
    with pytest.raises(TENSOR_ERROR):
        slice_kernel(tf.ones([3, 4]), [3, tf.constant(5)])


def test_a_level_prints_its_ratios():
    assert str(SliceLevel(1, {"stage4": 0.35, "stage5": 0.636})) == "level 1 (stage4 0.35, stage5 0.64)"
