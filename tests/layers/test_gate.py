import keras
import pytest
import tensorflow as tf
from helpers import array, close, fill

from ds_keras.layers import DoubleHeadedGate

SIZES = [4, 7, 10]


def gate(num_outputs=3, **kwargs):
    layer = DoubleHeadedGate(SIZES, num_outputs, reduced=3, **kwargs)
    layer.build((None, 5, 5, 10))
    return fill(layer)


def plain_dense(x, kernel, bias=None, activation=None):
    layer = keras.layers.Dense(kernel.shape[1], activation=activation, use_bias=bias is not None)
    layer.build(x.shape)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return layer(x)


def reference(layer, x):
    """The double-headed gate of plain Keras layers, from the slices."""
    channels = x.shape[-1]
    pooled = features = keras.layers.GlobalAveragePooling2D()(x)
    y = x
    if layer.attention:
        features = plain_dense(pooled, array(layer.reduce.kernel)[0, 0, :channels], array(layer.reduce.bias), "relu")
        kernel, bias = array(layer.expand.kernel)[0, 0, :, :channels], array(layer.expand.bias)[:channels]
        y = x * array(plain_dense(features, kernel, bias, "sigmoid"))[:, None, None, :]
    if not layer.num_outputs:
        return y, None
    if layer.hidden:
        dense = layer.slimming_head.dense
        features = plain_dense(pooled, array(dense.kernel)[:channels], array(dense.bias), "relu")
    head = layer.slimming_head.logits
    kernel = array(head.kernel)[: features.shape[-1]]
    return y, plain_dense(features, kernel, array(head.bias) if layer.hidden else None)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("num_outputs", [0, 3])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_equals_plain_keras(rng, attention, hidden, num_outputs, level):
    layer = gate(num_outputs, attention=attention, hidden=hidden)
    x = rng.normal(1, 2, (4, 5, 5, SIZES[level])).astype("float32")
    expected, logits = reference(layer, x)
    for chosen in (level, tf.constant(level)):
        outputs = layer(x, level=chosen)
        if num_outputs:
            close(outputs[1], logits)
            outputs = outputs[0]
        close(outputs, expected)


def test_a_hidden_branch_leaves_the_attention_alone():
    layer = gate(hidden=5)
    attention = {id(v) for block in (layer.reduce, layer.expand) for v in block.trainable_variables}
    branch = {id(v) for v in layer.slimming_head.trainable_variables}
    assert len(branch) == 4
    assert not attention & branch


def test_default_width_of_z_is_a_quarter():
    assert DoubleHeadedGate([8, 64]).reduced == 16
    assert DoubleHeadedGate([2]).reduced == 1


def test_level_must_be_given():
    with pytest.raises(ValueError, match="level must be given"):
        gate()(tf.ones([1, 5, 5, 4]))
