import keras
import numpy as np
import pytest
from helpers import nano, tiny

from ds_keras import layers
from ds_keras.core import cost
from ds_keras.models import DSMobileNet
from ds_keras.models.mobilenet import Stage


def test_a_small_network_by_hand():
    """Stem 8 px stride 2 -> 4 px; the gate's and the attention's layers are counted as in a table by hand."""
    model = nano()
    for level, (a, b) in enumerate([(4, 4), (6, 8), (8, 12)]):
        stem = 16 * 9 * 1 * 4
        block1 = 16 * (9 * 4 + 4 * 6) + (16 * 4 + 4 * 1 + 1 * 4)  # depthwise + pointwise + (pool, reduce, expand)
        spatial2 = 4 * 9 * 6 + (4 * 6 + 6 * 2 + 2 * 6)
        body = 4 * 6 * a + 4 * (9 * a + a * b) + (4 * a + a * 2 + 2 * a) + 4 * b + b * 3
        parts = cost.parts(model, level)
        assert parts == (stem + block1 + spatial2, 2 * 3, body)
        assert cost.madds(model, level) == parts.start + parts.body
        kernels = 9 * 4 + (9 * 4 + 4 * 6) + (4 + 1 + 1 * 4 + 4) + 9 * 6 + (6 * 2 + 2 + 2 * 6 + 6)
        kernels += 6 * a + 9 * a + (a * 2 + 2 + 2 * a + a) + a * b + b * 3 + 3
        norms = 2 * (4 + 4 + 6 + 6 + a + a + b)
        assert cost.params(model, level) == kernels + norms


def test_costs_rise_and_accept_slice_levels():
    model = DSMobileNet.small(10)
    madds = [cost.madds(model, level) for level in range(4)]
    params = [cost.params(model, level) for level in model.levels]
    assert madds == [cost.madds(model, level) for level in model.levels]
    assert madds == sorted(set(madds))
    assert params == sorted(set(params))
    assert not model.built


def test_start_and_gate_are_shared():
    model = DSMobileNet.imagenet()
    assert len({(part.start, part.gate) for part in model.costs}) == 1
    assert [part.body for part in model.costs] == sorted(part.body for part in model.costs)


def test_the_full_level_counts_every_weight_but_the_gate():
    model = tiny(gate_hidden=8)
    assert cost.params(model, 3) == sum(int(np.prod(v.shape)) for v in model.supernet_variables)


def test_a_wider_teacher_costs_more():
    stages = (Stage(6, 1, teacher=8), Stage((4, 6, 8), 1, 2, gate=True))
    model = nano(stem=(4, 6), stages=stages)
    assert cost.madds(model, model.teacher_level) > cost.madds(model, 2)
    assert cost.madds(model, 2) < cost.madds(nano(stages=(Stage(8, 1), stages[1])), 2)


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
def test_a_layer_counts_as_its_plain_twin(padding):
    inputs = keras.Input((9, 9, 5))
    layer = layers.SliceableConv2D(8, 3, 2, padding, use_bias=True, sizes=[4])
    layer.build((None, 9, 9, 5))
    x = inputs
    for twin, _ in layer.plain((None, 9, 9, 5), 0, "twin"):
        x = twin(x)
    shape = (None, 9, 9, 5)
    assert cost.count_plain(keras.Model(inputs, x)) == (layer.madds_at(shape, 0), layer.params_at(shape, 0))


def test_count_plain_knows_its_layers():
    inputs = keras.Input((4, 3))
    y = keras.layers.LayerNormalization()(keras.layers.Dense(5)(inputs))
    assert cost.count_plain(keras.Model(inputs, y)) == (4 * 3 * 5, 3 * 5 + 5 + 2 * 5)
    with pytest.raises(ValueError, match="no rule to count LSTM"):
        cost.count_plain(keras.Model(inputs, keras.layers.LSTM(2)(inputs)))


@pytest.mark.parametrize("count", [cost.madds, cost.params, cost.parts])
@pytest.mark.parametrize("level", [4, -1, 0.5, None])
def test_no_such_level(count, level):
    with pytest.raises(ValueError, match="level must be an integer in"):
        count(DSMobileNet.tiny(3), level)
