import keras
import numpy as np
import pytest
from helpers import close, images, nano

from ds_keras.core import cost
from ds_keras.export import subnet
from ds_keras.models.mobilenet import Stage

VARIANTS = [
    {},
    {"attention": False, "residual": True},
    {"gate_hidden": 8, "padding": "symmetric"},
    {"attention": False, "gate_hidden": 8, "padding": "valid", "mean": [90.0], "std": [40.0]},
    {"residual": True, "padding": "symmetric", "activation": "relu", "bn_epsilon": 1e-2, "dropout": 0.5},
]
X = images(6)


def layers_of(plain):
    return {type(layer) for layer in plain.layers}


@pytest.mark.parametrize(
    ("variant", "fold"),
    [
        pytest.param(variant, fold, marks=[pytest.mark.slow] * ((i + fold) % 2))  # each in one of two ways, or in both
        for i, variant in enumerate(VARIANTS)
        for fold in (False, True)
    ],
    ids=str,
)
def test_every_level_equals_a_plain_network(variant, fold):
    if variant.get("padding") == "valid":
        variant = {**variant, "input_shape": (24, 24, 1)}
    model = nano(**variant)
    x = images(6, model.image_shape[0])
    for level in (0, 2):
        plain = subnet(model, level, fold_batch_norm=fold)
        close(plain(x), model(x, level=level))
        assert all(layer.__module__.startswith("keras.") for layer in layers_of(plain))
        assert (keras.layers.BatchNormalization in layers_of(plain)) != fold
        assert keras.layers.Dropout not in layers_of(plain)
        madds, params = cost.count_plain(plain)
        assert madds == cost.madds(model, level)
        if not fold:
            assert params == cost.params(model, level)


def test_the_teacher_and_slice_levels():
    model = nano(stem=(4, 6), stages=(Stage(6, 1, teacher=8), Stage((4, 6, 8), 1, 2, gate=True)))
    for level in (*model.levels, model.teacher_level):
        plain = subnet(model, level)
        close(plain(X), model(X, level=level))
        assert cost.count_plain(plain) == (cost.madds(model, level), cost.params(model, level))


@pytest.mark.parametrize("fold", [pytest.param(False, marks=pytest.mark.slow), True])
def test_it_is_a_copy_that_keras_saves_alone(tmp_path, fold):
    model = nano()
    plain = subnet(model, 1, fold_batch_norm=fold)
    expected = np.array(model(X, level=1))
    for weight in model.weights:
        weight.assign(weight * 0)
    close(plain(X), expected)
    plain.save(tmp_path / "plain.keras")
    twin = keras.saving.load_model(tmp_path / "plain.keras", custom_objects={}, compile=False)
    close(twin(X), expected)
    assert twin.input_shape == (None, 8, 8, 1)


def test_training_statistics_equal_those_of_the_supernet():
    """The plain twin's BatchNorm keeps the supernet's momentum and statistics: one training pass moves both alike."""
    model = nano()
    plain = subnet(model, 2)
    plain(X, training=True)
    model(X, level=2, training=True)
    for norm in (layer for layer in plain.layers if isinstance(layer, keras.layers.BatchNormalization)):
        assert norm.momentum == 0.9
    first = next(layer for layer in plain.layers if isinstance(layer, keras.layers.BatchNormalization))
    close(first.moving_mean, model.stem_norm.moving_mean[0])


def test_no_such_level():
    with pytest.raises(ValueError, match="level must be an integer in"):
        subnet(nano(), 3)
