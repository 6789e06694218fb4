"""The features of a level as a Keras model: what they are, what is trained, and that Keras saves them."""

import keras
import numpy as np
import pytest
from helpers import array, close, images, nano, nano_vit, same

from ds_keras.models import Backbone

X = images(4)


@pytest.fixture(scope="module")
def network():
    return nano()


def test_it_gives_the_features_by_name(network):
    for level in (0, 2):
        backbone = Backbone(network, level)
        expected = network.features(X, level)
        assert backbone.strides == {"P1": 2, "P2": 4} == {f"P{k // 2}": k for k in expected}
        assert backbone.channels == {key: x.shape[-1] for key, x in backbone.pyramid_outputs.items()}
        assert network.feature_shapes(level) == {k: tuple(x.shape[1:]) for k, x in expected.items()}
        for key, value in backbone(X).items():
            same(value, expected[backbone.strides[key]])
        assert 0 < backbone.madds < network.costs[level].start + network.costs[level].body  # no classifier
    assert Backbone(network).level == 2


def test_channels_first_and_images_of_any_size(network):
    first = Backbone(network, 1, data_format="channels_first")
    assert first.inputs[0].shape == (None, 1, 8, 8)
    free = Backbone(network, 1, input_shape=(None, None, 1))
    for key, value in free(images(2, 16)).items():
        assert value.shape[1:3] == (16 // free.strides[key],) * 2
        close(np.moveaxis(array(first(np.moveaxis(X, -1, 1))[key]), 1, -1), free(X)[key])


def test_training_changes_the_slices_of_the_level_only():
    network = nano()
    backbone = Backbone(network, 0)
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(x) for x in backbone.pyramid_outputs.values()])
    model = keras.Model(backbone.inputs, keras.layers.Dense(1)(joined))
    before = {weight.path: array(weight) for weight in network.weights}
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.train_on_batch(X, np.ones((4, 1), "float32"))  # a variable without a gradient would be a warning
    changed = {weight.path: array(weight) != before[weight.path] for weight in network.weights}
    trained = {variable.path for variable in backbone.trainable_variables}
    assert {path for path, where in changed.items() if where.any()} >= trained
    assert not any(where.any() for path, where in changed.items() if "classifier" in path or "slimming" in path)
    (kernel,) = (where for path, where in changed.items() if path.endswith("stage3_block1_pointwise/kernel"))
    assert kernel[0, 0, :4, :4].any() and not kernel[0, 0, 4:].any() and not kernel[..., 4:].any()
    (mean,) = (where for path, where in changed.items() if path.endswith("stage3_block1_norm2/moving_mean"))
    assert mean[0].any() and not mean[1:].any()  # of the level
    backbone.trainable = False
    assert len(model.trainable_variables) == 2
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = network.get_weights()
    model.train_on_batch(X, np.ones((4, 1), "float32"))
    for weight, old in zip(network.get_weights(), before, strict=True):
        same(weight, old)


def test_keras_saves_it_and_levels_share_a_network(network, tmp_path):
    small, large = Backbone(network, 0), Backbone(network, 2)
    x = keras.Input((8, 8, 1))
    both = [small(x)["P2"], large(x)["P2"], network.features(x, level=1)[4]]
    keras.Model(x, both).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for value, level in zip(loaded(X), (0, 2, 1), strict=True):
        same(value, network.features(X, level)[4])
    assert sum(v.path.endswith("stem/kernel") for v in loaded.weights) == 1
    copy = Backbone.from_config(small.get_config())
    assert copy.network is not network and copy.get_config()["level"] == 0


def test_a_vit_gives_its_tokens_in_their_grid():
    network = nano_vit()
    backbone, x = Backbone(network, 0), images(2, *network.image_shape[1:])
    for key, value in backbone(x).items():
        stride = backbone.strides[key]
        assert tuple(value.shape[1:]) == network.feature_shapes(0)[stride]
        same(value, network.features(x, 0)[stride])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"network": keras.Sequential()}, "network must be a supernet, received Sequential"),
        ({"level": 3}, "level must be an integer in"),
        ({"data_format": "first"}, "data_format must be 'channels_last' or 'channels_first', received 'first'"),
    ],
)
def test_mistakes(network, given, message):
    with pytest.raises(ValueError, match=message):
        Backbone(**{"network": network, **given})


def test_segmenters_and_detectors_of_keras_hub():
    models = pytest.importorskip("keras_hub", minversion="0.32").models
    network = nano(input_shape=(32, 32, 1))
    encoder = Backbone(network, 0)
    given = {"image_encoder": encoder, "image_shape": (32, 32, 1)}
    deep = {"spatial_pyramid_pooling_key": "P2", "low_level_feature_key": "P1", "upsampling_size": 2}
    model = models.DeepLabV3Backbone(**given, **deep, dilation_rates=[1, 2], projection_filters=4)
    assert model(images(2, 32)).shape == (2, 32, 32, 256)
    found = models.RetinaNetBackbone(**given, min_level=1, max_level=2, use_p5=False)(images(2, 32))
    assert {key: tuple(x.shape[1:3]) for key, x in found.items()} == {"P1": (16, 16), "P2": (8, 8)}
