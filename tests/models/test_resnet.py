import keras
import numpy as np
import pytest
from helpers import array, close, fill, images, nano_resnet

from ds_keras.convert.keras_applications import from_keras_resnet50
from ds_keras.core import cost
from ds_keras.core.visitor import Compute
from ds_keras.models import DSResNet
from ds_keras.models.mobilenet import Stage
from ds_keras.models.resnet import CIFAR, IMAGENET


def test_imagenet_is_resnet50():
    """25.56M parameters and 4.09 GMAdds in version 1.5, 3.86 in the first; what the gate's attention adds is apart."""
    model, plain = DSResNet.imagenet(), DSResNet.imagenet(attention=False)
    attention = 2 * 256 * 64 + 64 + 256
    assert cost.params(plain, 3) == 25_557_032
    assert cost.params(model, 3) == 25_557_032 + attention
    assert cost.madds(plain, 3) / 1e9 == pytest.approx(4.089, abs=0.001)
    assert cost.madds(model, 3) - cost.madds(plain, 3) == 56 * 56 * 256 + 2 * 256 * 64  # the pool, two layers
    first = DSResNet.imagenet(stride_in="1x1", attention=False)
    assert cost.params(first, 3) == 25_557_032
    assert cost.madds(first, 3) / 1e9 == pytest.approx(3.858, abs=0.001)
    assert not model.built


@pytest.mark.parametrize("make", [lambda: DSResNet.imagenet(10), lambda: DSResNet.cifar(10)])
def test_costs_fall_with_the_square_of_the_width(make):
    """Behind the first block of the gated stage every convolution is sliced on both sides."""
    model = make()
    for level, ratio in enumerate((0.25, 0.5, 0.75, 1.0)):
        assert model.levels[level].ratios["stage3"] == ratio
        for stage in model.blocks[model.gated + 1 :]:
            for block in stage[1:]:
                for conv in (step for step in block.steps if hasattr(step, "filters")):
                    wide, narrow = ((None, 8, 8, round(conv_width(block, conv) * r)) for r in (1, ratio))
                    share = conv.madds_at(narrow, level) / conv.madds_at(wide, 3)
                    assert share == pytest.approx(ratio**2, rel=0.05)


def conv_width(block, conv):
    """Full input width of a convolution of a residual block without a shortcut convolution."""
    convs = [step for step in block.steps if hasattr(step, "filters")]
    return convs[convs.index(conv) - 1].filters


def test_a_block_begins_as_its_shortcut():
    model = DSResNet.cifar(10, (8, 8, 1))
    model.build()
    block = model.blocks[2][1]
    x = np.abs(np.random.default_rng(0).normal(size=(2, 4, 4, 32))).astype("float32")
    assert not array(block.steps[-1].gamma).any()
    close(block(x, level=0), x, tolerance=0)


def test_the_attention_begins_as_the_identity():
    model = DSResNet.cifar(10, (8, 8, 1))
    model.build()
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 32)).astype("float32")
    close(model.gate_block.attend(Compute(0), x)[0], x, tolerance=0)
    fill(model.gate_block.expand)
    assert np.abs(model.gate_block.attend(Compute(0), x)[0] - x).max() > 0.1


@pytest.mark.parametrize("classes", [7, pytest.param(1000, marks=pytest.mark.slow)])
def test_keras_weights_give_the_same_logits(classes):
    """Random weights and statistics, at a size that keeps the test short; the architecture is the 224 px one."""
    network = keras.applications.ResNet50(
        weights=None, input_shape=(64, 64, 3), classes=classes, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights(
                [
                    0.6 * rng.uniform(0.5, 1.0, shape),
                    0.1 * rng.normal(size=shape),
                    0.1 * rng.normal(size=shape),
                    rng.uniform(0.8, 1.2, shape),
                ]
            )
        elif isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, 0.1 * rng.normal(size=bias.shape)])
    x = images(3, 64, 3)
    expected = array(network(keras.applications.resnet.preprocess_input(x.copy())))
    assert expected.std(axis=0).mean() > 1e-3
    model, ordered = from_keras_resnet50(network, order=False), from_keras_resnet50(network)
    assert model.input_shape == (None, 64, 64, 3) and model.style.bn_epsilon == 1.001e-5
    close(model(x, level=3), expected)
    close(ordered(x, level=3), expected)
    assert np.abs(ordered(x, level=2) - model(x, level=2)).max() > 1e-2
    assert np.abs(model(x, level=2) - expected).max() > 1e-2


@pytest.mark.parametrize(
    "make", [keras.applications.MobileNetV2, pytest.param(keras.applications.ResNet101, marks=pytest.mark.slow)]
)
def test_another_network_is_refused(make):
    network = make(weights=None, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match=r"network must be keras\.applications\.ResNet50 with its top, received"):
        from_keras_resnet50(network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": "wide"}, "block must be one of"),
        ({"expansion": 0}, "expansion must be at least 1, received 0"),
        ({"stem_pool": "start"}, "stem_pool must be one of .*'end'.*, received 'start'"),
        ({"stem_pool": True, "activation": "swish"}, "stem_pool pads with zeros, .* received 'swish'"),
        ({"stages": [{"depth": 1}, {"width": [4, 8], "depth": 1, "gate": True}]}, "must have the fields of Stage"),
        ({"stride_in": "5x5"}, "stride_in one of"),
        ({"padding": "valid"}, "padding must be 'symmetric' or 'same', received 'valid'"),
        ({"activation": keras.activations.relu}, "activation must be the name of one"),
        ({"stages": CIFAR[1:]}, "the gate is not in the first row"),
        ({"stages": (Stage(6, 1, teacher=8), CIFAR[1])}, "no row has a teacher"),
        ({"stages": CIFAR[:1]}, "exactly one row with gate=True"),
        ({"stages": IMAGENET, "block": "bottleneck", "expansion": 3}, "multiple of expansion=3"),
        ({"stages": (Stage(8, 1, kernel=(3, 3)), CIFAR[1])}, "stage 1: kernel must be an int"),
        ({"stages": (Stage(8, 1), Stage((4, 8), (2, 1), gate=True))}, "stage 2: depth must be at least 1 and must not"),
        ({"stages": (Stage(8, 1), Stage((4, 8), 1, gate=True, kernel=(3, 4)))}, "stage 2: kernel must be odd"),
        ({"stages": (Stage(8, 1), Stage((4, 8), 1, gate=True, kernel=(5, 3)))}, "must not decrease"),
    ],
)
def test_bad_tables(changes, message):
    with pytest.raises(ValueError, match=message):
        nano_resnet(**changes)
