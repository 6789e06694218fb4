"""Nested residual learning: where no normaliser stands between, a level adds to what the smaller one computes.

DS-Net++, arXiv 2109.10060. BatchNorm with private statistics and LayerNorm over the active slice break the sum: they
rescale the prefix from level to level. So it holds within a layer, and for a pair of layers with an elementwise
activation between.
"""

import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, fill
from hypothesis import given, settings
from hypothesis import strategies as st

from ds_keras import layers

SIZES = st.lists(st.integers(1, 8), min_size=2, max_size=2, unique=True).map(sorted)


def numbers(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


@settings(max_examples=15, deadline=None)
@given(SIZES)
def test_inputs_add(sizes):
    """A convolution over more input channels = the one over fewer + what the added channels bring."""
    small, large = sizes
    conv, x = layers.SliceableConv2D(6, 3), numbers(2, 5, 5, 8)
    conv.build((None, 5, 5, 8))
    fill(conv)
    added = tf.nn.conv2d(x[..., small:large], array(conv.kernel)[:, :, small:large], 1, "SAME")
    close(conv(x[..., :large], slice_ratio=1.0), conv(x[..., :small], slice_ratio=1.0) + added)


@settings(max_examples=15, deadline=None)
@given(SIZES)
def test_hidden_units_add(sizes):
    """An MLP with more hidden units = the one with fewer + what the added units compute."""
    small, large = sizes
    expand, project, gelu = layers.SliceableDense(8, sizes=sizes), layers.SliceableDense(4), layers.Gelu()
    x = numbers(3, 5)
    for layer, width in ((expand, 5), (project, 8)):
        layer.build((None, width))
        fill(layer)
    y = [project(gelu(expand(x, level=level)), slice_ratio=1.0) for level in (0, 1)]
    hidden = gelu(x @ array(expand.kernel)[:, small:large] + array(expand.bias)[small:large])
    close(y[1], y[0] + hidden @ array(project.kernel)[small:large])


@pytest.mark.parametrize(("small", "large"), [(1, 2), (1, 4), (3, 4)])
def test_heads_add(small, large):
    attention, x = layers.SliceableMultiHeadAttention(4, 3, sizes=[small, large]), numbers(2, 5, 6)
    attention.build((None, 5, 6))
    fill(attention)
    added = 0
    for head in range(small, large):
        part = slice(3 * head, 3 * head + 3)
        query = x @ array(attention.query_kernel)[:, part] + array(attention.query_bias)[part]
        key = x @ array(attention.key_kernel)[:, part]
        value = x @ array(attention.value_kernel)[:, part] + array(attention.value_bias)[part]
        weights = tf.nn.softmax(query @ key.transpose(0, 2, 1) / np.sqrt(3))
        added += np.asarray(weights) @ value @ array(attention.output_kernel)[part]
    close(attention(x, level=1), attention(x, level=0) + added)


@pytest.mark.parametrize(("small", "large"), [(1, 3), (3, 5), (1, 5)])
def test_kernel_rings_add(small, large):
    """A larger kernel = its centre + the ring around it."""
    conv, x = layers.SliceableConv2D(4, 5, sizes=[4, 4], kernel_sizes=[small, large]), numbers(2, 6, 6, 3)
    conv.build((None, 6, 6, 3))
    fill(conv)
    ring = array(conv.kernel)
    low, high = (5 - small) // 2, (5 + small) // 2
    ring[low:high, low:high] = 0
    ring = ring[(5 - large) // 2 : (5 + large) // 2, (5 - large) // 2 : (5 + large) // 2]
    close(conv(x, level=1), conv(x, level=0) + tf.nn.conv2d(x, ring, 1, "SAME"))


def test_a_normaliser_breaks_the_sum():
    """What the docs warn of: the prefix of a wider LayerNorm is not the narrower one's output."""
    norm, x = layers.SliceableLayerNormalization(), numbers(2, 3, 8)
    norm.build((None, 3, 8))
    narrow, wide = norm(x[..., :4], slice_ratio=0.5), norm(x, slice_ratio=1.0)
    assert np.abs(narrow - wide[..., :4]).max() > 0.05
