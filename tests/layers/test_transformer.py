"""LayerNorm, attention and the layers around tokens: equal to plain Keras layers that hold the slices."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, fill, in_graph, same

from ds_keras import layers
from ds_keras.core import cost

HEADS, WIDTHS = [1, 2, 4], [6, 10, 16]
MAKE = {
    "attention": lambda **kwargs: layers.SliceableMultiHeadAttention(4, 5, sizes=HEADS, **kwargs),
    "layer_norm": lambda **kwargs: layers.SliceableLayerNormalization(WIDTHS, 1e-3, **kwargs),
    "positions": lambda **kwargs: layers.SliceablePositionEmbedding(False, WIDTHS, **kwargs),
    "class_token": lambda **kwargs: layers.SliceablePositionEmbedding(True, WIDTHS, **kwargs),
    "active": lambda **kwargs: layers.ActiveSlice(16, WIDTHS, **kwargs),
}
FOLLOWS_X = ("layer_norm", "positions", "class_token")


def make(kind, **kwargs):
    layer = MAKE[kind](**kwargs)
    layer.build((None, 7, 16))
    return fill(layer)


def tokens(kind, level):
    width = {"attention": 12, "active": 16}.get(kind, WIDTHS[level])
    return np.random.default_rng(level).normal(size=(3, 7, width)).astype("float32")


def twin(layer, x, level):
    """The plain layers on x."""
    inputs = keras.Input(x.shape[1:])
    y = inputs
    for plain, weights in layer.plain((None, *x.shape[1:]), level, "twin"):
        y = plain(y)
        if weights:
            plain.set_weights(weights)
    return keras.Model(inputs, y)


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_equals_its_plain_twin(kind, level):
    layer, x = make(kind), tokens(kind, level)
    y = layer(x, level=level)
    plain = twin(layer, x, level)
    close(plain(x), y, tolerance=1e-5)
    shape = (None, *x.shape[1:])
    assert (None, *y.shape[1:]) == layer.output_shape_at(shape, level)
    assert cost.count_plain(plain) == (layer.madds_at(shape, level), layer.params_at(shape, level))


@pytest.mark.parametrize("kind", MAKE)
def test_int_tensor_and_ratio_agree(kind):
    layer, width = make(kind), None if kind in FOLLOWS_X else tokens(kind, 0).shape[-1]
    features = tf.TensorSpec([None, 7, width])

    def graph(function, dtype):
        return tf.function(function, input_signature=[features, tf.TensorSpec([], dtype)], autograph=False)

    by_level = graph(lambda x, level: layer(x, level=level), tf.int32)
    by_ratio = graph(lambda x, ratio: layer(x, slice_ratio=ratio), tf.float32)
    for level in range(3):
        x = tokens(kind, level)
        expected = layer(x, level=level)
        close(by_level(x, tf.constant(level)), expected, tolerance=1e-5)
        ratio = (HEADS[level] / 4) if kind == "attention" else WIDTHS[level] / 16
        close(layer(x, slice_ratio=ratio), expected, tolerance=1e-6)
        close(by_ratio(x, tf.constant(ratio)), expected, tolerance=1e-5)


@pytest.mark.parametrize("kind", MAKE)
def test_config_and_dtype(kind):
    layer, x = make(kind, name="mine"), tokens(kind, 1)
    config = json.loads(json.dumps(layer.get_config()))
    copy = type(layer).from_config(config)
    assert json.loads(json.dumps(copy.get_config())) == config
    copy.build((None, 7, 16))
    copy.set_weights(layer.get_weights())
    same(copy(x, level=1), layer(x, level=1))
    half = make(kind, dtype="mixed_bfloat16")(x, level=1)
    if kind != "active":
        assert half.dtype == tf.bfloat16
    close(tf.cast(half, tf.float32), layer(x, level=1), tolerance=0.05)


@pytest.mark.parametrize("kind", MAKE)
def test_bad_calls(kind):
    layer, x = make(kind), tokens(kind, 2)
    for call in ({"slice_ratio": 1.5}, {"level": 3}, {"level": True}):
        with pytest.raises(ValueError, match="must be"):
            layer(x, **call)
    for call in ({}, {"slice_ratio": 0.5, "level": 0}):
        with pytest.raises(ValueError, match="give exactly one of slice_ratio and level"):
            layer(x, **call)
    if kind in FOLLOWS_X:
        with pytest.raises(ValueError, match=r"keeps the size of x, which is 16.* asks for 6 of 16"):
            layer(x, level=0)
    if kind != "active":
        with pytest.raises(ValueError, match="at most 16 channels, received 17"):
            layer(np.ones([1, 7, 17], "float32"), slice_ratio=1.0)


def test_attention_equals_keras_attention():
    """Keras' own layer with the slices of the kernels, heads as an axis."""
    layer, x = make("attention"), tokens("attention", 1)
    reference = keras.layers.MultiHeadAttention(2, 5)
    reference.build(x.shape, x.shape)
    own = {name: array(getattr(layer, name)) for name, _ in layer.weight_slices(x.shape, 1)}
    weights = []
    for name in ("query", "key", "value"):
        bias = own.get(f"{name}_bias", np.zeros(20))
        weights += [own[f"{name}_kernel"][:12, :10].reshape(12, 2, 5), bias[:10].reshape(2, 5)]
    weights += [own["output_kernel"][:10, :12].reshape(2, 5, 12), own["output_bias"][:12]]
    reference.set_weights(weights)
    close(layer(x, level=1), reference(x, x), tolerance=1e-5)


def test_attention_costs_what_its_kinds_of_work_cost():
    """Projections grow with heads x features, scores with heads."""
    layer = make("attention")
    for level, heads in enumerate(HEADS):
        linear, scores = 4 * 7 * 12 * heads * 5, 2 * 7 * 7 * heads * 5
        assert layer.madds_at((None, 7, 12), level) == linear + scores


def test_layer_norm_reads_the_active_slice_only():
    layer, x = make("layer_norm"), tokens("layer_norm", 0)
    reference = keras.layers.LayerNormalization(epsilon=1e-3)
    reference.build(x.shape)
    reference.set_weights([array(layer.gamma)[:6], array(layer.beta)[:6]])
    close(layer(x, level=0), reference(x), tolerance=1e-5)
    gamma = array(layer.gamma)
    gamma[6:] = 99
    before = array(layer(x, level=0))
    layer.gamma.assign(gamma)
    same(layer(x, level=0), before)


def test_the_class_token_is_the_first_position():
    layer, x = make("class_token"), tokens("class_token", 2)
    table, y = array(layer.table), array(layer(x, level=2))
    assert y.shape == (3, 8, 16)
    close(y[:, 0], np.broadcast_to(table[0], (3, 16)), tolerance=1e-6)
    close(y[:, 1:], x + table[1:], tolerance=1e-6)
    close(layers.FirstToken()(y, level=0), y[:, 0], tolerance=0)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_idle_part_passes_untouched(level):
    stream, read, join = tokens("active", 0), make("active"), layers.RejoinIdle()
    active = 2 * read(stream, level=level)
    y = array(join([stream, active], level=level))
    size = WIDTHS[level]
    same(y[..., :size], 2 * stream[..., :size])
    same(y[..., size:], stream[..., size:])
    graph = in_graph(lambda k: join([stream, 2 * read(stream, level=k)], level=k))
    same(graph(tf.constant(level)), y)


def test_gelu_is_the_tanh_form():
    x = np.linspace(-4, 4, 33).astype("float32")
    expected = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    close(layers.Gelu()(x), expected, tolerance=1e-6)
    exact = keras.ops.gelu(x, approximate=False)
    assert 1e-5 < np.abs(array(layers.Gelu()(x)) - exact).max() < 1e-2


def test_regrid_keeps_the_batch_free():
    layer = layers.Regrid((4, 3))
    assert layer.output_shape_at((None, 2, 2, 3), 0) == (None, 4, 3)
    same(layer(tf.reshape(tf.range(24.0), [2, 2, 2, 3])), np.arange(24.0).reshape(2, 4, 3))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: layers.SliceableMultiHeadAttention(0, 4), "heads must be a positive integer"),
        (lambda: layers.SliceableMultiHeadAttention(2, 0), "head_size must be a positive integer"),
        (lambda: layers.SliceableMultiHeadAttention(2, 4, sizes=[1, 3]), r"sizes must lie in \[1, heads=2\]"),
        (lambda: layers.ActiveSlice(4, [5]), r"sizes must lie in \[1, features=4\]"),
    ],
)
def test_bad_arguments(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()


def test_only_active_slices_get_gradients():
    layer, x = make("attention"), tokens("attention", 1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, level=1) ** 2)
    slices = layer.weight_slices(x.shape, 1)
    gradients = tape.gradient(loss, [getattr(layer, name).value for name, _ in slices])
    for (name, sizes), gradient in zip(slices, gradients, strict=True):
        mask = np.zeros(gradient.shape, bool)
        mask[tuple(slice(0, size) for size in sizes)] = True
        assert (array(gradient)[mask] != 0).all() and (array(gradient)[~mask] == 0).all(), name


def test_other_tokens_are_refused():
    layer = make("positions")
    for count in (1, 5):
        with pytest.raises(ValueError, match=f"x must have 7 tokens, received {count}"):
            layer(np.ones([2, count, 16], "float32"), slice_ratio=1.0)
    with pytest.raises(ValueError, match=r"an image of shape \(4, 8, 4\) cannot become \(64, 4\)"):
        layers.Regrid((64, 4))(np.ones([4, 4, 8, 4], "float32"))


def test_kernels_of_a_seeded_initializer_differ():
    layer = layers.SliceableMultiHeadAttention(2, 8, kernel_initializer=keras.initializers.HeNormal(seed=3))
    layer.build((None, 7, 16))
    kernels = [array(getattr(layer, f"{name}_kernel")) for name in ("query", "key", "value", "output")]
    assert all(np.abs(a - b).max() > 0.1 for i, a in enumerate(kernels) for b in kernels[:i])


def test_attention_of_any_number_of_tokens():
    layer = make("attention")
    graph = tf.function(lambda x: layer(x, level=1), input_signature=[tf.TensorSpec([None, None, 12])], autograph=False)
    x = tokens("attention", 1)
    close(graph(x[:, :5]), layer(x[:, :5], level=1), tolerance=1e-5)


def test_layer_norm_keeps_its_affine_in_full_precision():
    layer = make("layer_norm", dtype="mixed_bfloat16")
    layer.gamma.assign(np.full(16, 1.003, "float32"))
    layer.beta.assign(np.zeros(16, "float32"))
    x = 100 * np.sign(tokens("layer_norm", 2))
    graph = layer(x, level=2)
    reference = keras.layers.LayerNormalization(epsilon=1e-3)
    reference.build(x.shape)
    reference.set_weights([array(layer.gamma), array(layer.beta)])
    same(tf.cast(graph, tf.float32), tf.cast(tf.cast(reference(x), tf.bfloat16), tf.float32))
