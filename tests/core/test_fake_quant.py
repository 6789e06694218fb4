import numpy as np
import pytest
import tensorflow as tf
from helpers import same

from ds_keras.core.fake_quant import fake_quant_kernel, kernel_scale
from ds_keras.core.levels import slice_kernel

RNG = np.random.default_rng(0)


def kernel(*shape):
    return tf.constant(RNG.normal(size=shape) * RNG.uniform(0.1, 3, shape[-1:]), tf.float32)


@pytest.mark.parametrize(
    ("shape", "axis", "slice_sizes"),
    [((3, 3, 6, 8), 3, (3, 3, 4, 5)), ((5, 5, 8, 1), 2, (3, 3, 6, 1)), ((12, 7), None, (5, 7)), ((12, 7), 1, (5, 4))],
)
def test_codes_of_a_slice_are_a_slice_of_the_codes(shape, axis, slice_sizes):
    full = kernel(*shape)
    scale = np.asarray(kernel_scale(full, axis))
    assert scale.shape == (() if axis is None else (shape[axis],))
    wide = scale if axis is None else scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    codes = np.asarray(fake_quant_kernel(full, axis)) / wide
    np.testing.assert_allclose(codes, np.rint(np.asarray(full) / wide), atol=1e-3)
    others = tuple(i for i in range(len(shape)) if i != axis)
    np.testing.assert_allclose(np.abs(codes).max(others), 127, atol=1e-3)
    centre = (0, 1) if len(shape) == 4 else ()
    part = np.asarray(slice_kernel(full, slice_sizes, centre))
    if axis is not None:
        wide = scale[: slice_sizes[axis]].reshape([-1 if i == axis else 1 for i in range(len(shape))])
    same(slice_kernel(fake_quant_kernel(full, axis), slice_sizes, centre), part + (np.rint(part / wide) * wide - part))


def test_the_gradient_passes_straight_through():
    full = kernel(3, 3, 2, 4)
    with tf.GradientTape() as tape:
        tape.watch(full)
        y = tf.reduce_sum(fake_quant_kernel(full, 3) * 3.0)
    same(tape.gradient(y, full), np.full(full.shape, 3.0, "float32"))


def test_a_channel_of_zeros_has_a_scale():
    full = np.asarray(kernel(3, 3, 2, 4)).copy()
    full[..., 1] = 0
    scale = np.asarray(kernel_scale(full, 3))
    assert (scale > 0).all() and scale[1] < 1.1e-4 * scale.max()
    same(np.asarray(fake_quant_kernel(full, 3))[..., 1], np.zeros((3, 3, 2)))
    assert np.asarray(kernel_scale(np.zeros((2, 2), "float32"), None)) > 0
