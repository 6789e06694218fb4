"""What holds for every sliceable layer."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, fill, in_graph, same

from ds_keras import layers
from ds_keras.core.visitor import Compute

SIZES = [3, 7, 10]
MAKE = {
    "conv": lambda **kwargs: layers.SliceableConv2D(10, 3, 2, "symmetric", True, SIZES, **kwargs),
    "depthwise": lambda **kwargs: layers.SliceableDepthwiseConv2D(3, 2, "symmetric", SIZES, **kwargs),
    "dense": lambda **kwargs: layers.SliceableDense(10, sizes=SIZES, **kwargs),
    "batch_norm": lambda **kwargs: layers.SliceableBatchNormalization(3, [0, 1, 2], 0.8, 1e-3, **kwargs),
    "gate": lambda **kwargs: layers.DoubleHeadedGate(SIZES, 3, 4, True, 5, **kwargs),
}
RATIO = ["conv", "depthwise", "dense"]
FOLLOWS_X = ("depthwise", "batch_norm", "gate")


def make(kind, **kwargs):
    layer = MAKE[kind](**kwargs)
    layer.build((None, 6, 6, 10))
    return fill(layer)


def features(kind, level):
    channels = SIZES[level] if kind in FOLLOWS_X else 5
    return np.random.default_rng(level).normal(size=(2, 6, 6, channels)).astype("float32")


@pytest.mark.parametrize("kind", MAKE)
def test_tensor_level_equals_int_level(kind):
    layer = make(kind)
    signature = [tf.TensorSpec([None, 6, 6, None if kind in FOLLOWS_X else 5]), tf.TensorSpec([], tf.int32)]
    graph = tf.function(lambda x, level: layer(x, level=level), input_signature=signature, autograph=False)
    for level in range(3):
        x = features(kind, level)
        expected = tf.nest.flatten(layer(x, level=level))
        for y in (layer(x, level=tf.constant(level)), graph(x, tf.constant(level))):
            for actual, value in zip(tf.nest.flatten(y), expected, strict=True):
                close(actual, value)


@pytest.mark.parametrize("kind", RATIO)
@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.0])
def test_tensor_ratio_equals_float_ratio(kind, ratio):
    layer, x = make(kind), features(kind, [0.3, 0.7, 1.0].index(ratio))
    expected = layer(x, slice_ratio=ratio)
    close(layer(x, slice_ratio=tf.constant(ratio)), expected)
    close(in_graph(lambda r: layer(x, slice_ratio=r))(tf.constant(ratio)), expected)


@pytest.mark.parametrize("kind", RATIO)
def test_bad_ratio_and_level_raise(kind):
    layer, x = make(kind), features(kind, 2)
    for call in ({"slice_ratio": 1.5}, {"slice_ratio": np.nan}, {"level": 3}, {"level": True}):
        with pytest.raises(ValueError, match="must be"):
            layer(x, **call)
    for call in ({"slice_ratio": tf.constant(1.5)}, {"level": tf.constant(3)}):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must be in"):
            layer(x, **call)


@pytest.mark.parametrize("kind", MAKE)
def test_config_round_trip(kind):
    layer = make(kind, name="mine")
    config = json.loads(json.dumps(layer.get_config()))
    twin = type(layer).from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config
    twin.build((None, 6, 6, 10))
    twin.set_weights(layer.get_weights())
    x = features(kind, 1)
    for a, b in zip(tf.nest.flatten(twin(x, level=1)), tf.nest.flatten(layer(x, level=1)), strict=True):
        same(a, b)


def functional():
    inputs = keras.Input((6, 6, 5))
    y = layers.SliceableConv2D(8, 3, use_bias=True, name="conv")(inputs, slice_ratio=0.5)
    y = layers.SliceableBatchNormalization(2, name="norm")(y, level=1)
    y = layers.SliceableDepthwiseConv2D(3, name="depthwise")(y, slice_ratio=1.0)
    y = layers.DoubleHeadedGate([4, 4], name="gate")(y, level=0)
    y = layers.SliceableDense(6, name="dense")(keras.layers.Flatten()(y), slice_ratio=0.5)
    return keras.Model(inputs, y)


@pytest.mark.parametrize("whole", [False, True])
def test_saving_round_trip(tmp_path, whole):
    model, x = fill(functional()), features("conv", 0)
    assert model.output_shape == (None, 3)
    if whole:
        model.save(tmp_path / "m.keras")
        twin = keras.models.load_model(tmp_path / "m.keras")
    else:
        model.save_weights(tmp_path / "m.weights.h5")
        twin = functional()
        twin.load_weights(tmp_path / "m.weights.h5")
    same(twin(x), model(x))
    assert np.abs(twin(x)).max() > 0


@pytest.mark.parametrize("kind", MAKE)
def test_mixed_bfloat16(kind):
    layer, x = make(kind, dtype="mixed_bfloat16"), features(kind, 1)
    assert {w.dtype for w in layer.weights} == {"float32"}
    expected = tf.nest.flatten(make(kind)(x, level=1))
    for y, value in zip(tf.nest.flatten(layer(x, level=1)), expected, strict=True):
        assert y.dtype == tf.bfloat16
        close(tf.cast(y, tf.float32), value, tolerance=0.03)


@pytest.mark.parametrize("ratio", [1 / 3, 0.2501, 0.7, 0.999])
def test_sizes_from_a_ratio_tensor_are_exact_in_bfloat16(ratio):
    layer = layers.SliceableDense(1000, dtype="mixed_bfloat16")
    x = tf.ones([1, 2])
    expected = layer(x, slice_ratio=ratio)
    assert expected.shape[-1] == round(1000 * ratio)
    assert layer(x, slice_ratio=tf.constant(ratio)).shape == expected.shape


@pytest.mark.parametrize("kind", RATIO)
def test_an_unbuilt_layer_builds_from_its_first_call(kind):
    x = features(kind, 2)
    y = MAKE[kind]()(x, slice_ratio=tf.constant(1.0))
    assert y.shape[-1] == 10


def test_a_loss_of_a_layers_own_is_kept_in_a_pass():
    layer = layers.SliceableDense(4, sizes=[2, 4], activity_regularizer="l2")
    layer.build((None, 3))
    Compute(0).run(layer, tf.ones((2, 3)))
    assert len(layer.losses) == 1
