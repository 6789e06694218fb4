import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, in_graph, nano, nano_resnet, nano_vit, pair, same

from ds_keras.core.levels import LevelTensor
from ds_keras.core.visitor import Compute
from ds_keras.quantization import FakeQuantized, activation_ranges, check_quantize
from ds_keras.quantization.rounding import _fixed_range

X = images(24)


@pytest.fixture(scope="module", params=[nano, nano_resnet], ids=lambda make: make.__name__)
def model(request):
    """Do not change it."""
    return request.param(gate_hidden=4)


class Seen(FakeQuantized):
    """Keeps what is rounded, before and after."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = {}

    def round(self, x, name, fixed):
        self.seen[name] = (array(x), array(super().round(x, name, fixed)), fixed)
        return super().round(x, name, fixed)


def test_what_is_rounded(model):
    """Results of fused operators: not a convolution's output before BatchNorm, nor BatchNorm's before ReLU."""
    visitor = Seen(1)
    visitor.rounded(model.logits(visitor, X))
    names = set(visitor.seen)
    assert {"normalize", "classifier", "pool"} <= names
    convolutions = {layer.name for layer in model._flatten_layers() if type(layer).__name__.startswith("SliceableConv")}
    biased = {name for name in convolutions if name.endswith(("expand", "reduce"))}
    assert not names & (convolutions - biased)
    for name, (before, after, fixed) in visitor.seen.items():
        steps = np.unique(np.round(after / max(np.abs(after).max(), 1e-9), 6))
        assert len(steps) <= 256, name
        low, high = fixed or (min(before.min(), 0), before.max())
        assert np.abs(after - np.clip(before, low, high)).max() <= 1.02 * (high - low) / 255, name
        if name.endswith("norm1"):  # read by the activation
            assert model.style.activation != "relu"


def test_it_rounds_and_stays_near(model):
    for level in range(3):
        visitor = FakeQuantized(level)
        found, expected = array(visitor.rounded(model.logits(visitor, X))), array(model.logits(Compute(level), X))
        assert 0 < np.abs(found - expected).max() < 0.15 * np.abs(expected).max()


def test_a_tensor_level_gives_the_same(model):
    run = in_graph(lambda level: model.logits(FakeQuantized(LevelTensor(level, 3)), tf.constant(X)))
    for level in (0, 2):
        close(run(tf.constant(level)), model.logits(FakeQuantized(level), X), 2e-2)


def test_gradients_only_on_the_active_slice(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.logits(FakeQuantized(0, training=True), tf.constant(X)) ** 2)
    kernel = model.classifier.kernel
    gradient = array(tape.gradient(loss, kernel.value))
    assert np.abs(gradient[:4]).min() > 0
    same(gradient[4:], np.zeros_like(gradient[4:]))


def test_ranges(model):
    ranges = activation_ranges(model, X, batch_size=8)
    start, bodies = [set(r) for r in ranges], []
    assert len(ranges) == 3 and "features" in start[0] and start[0] <= start[1] == start[2]
    assert all(name.startswith("stage2_block2") for name in start[1] - start[0])  # which the ResNet's level 0 lacks
    visitor = Compute(0)
    batches = [array(model.start(visitor, X[i : i + 8])[0]) for i in (0, 8, 16)]
    expected = [np.mean([min(b.min(), 0) for b in batches]), np.mean([b.max() for b in batches])]
    for level in range(3):
        close(ranges[level]["features"], expected)
        logits = [array(model(X[i : i + 8], level=level)) for i in (0, 8, 16)]
        bodies.append(ranges[level]["classifier"])
        close(bodies[-1], [np.mean([min(b.min(), 0) for b in logits]), np.mean([b.max() for b in logits])])
    assert len(set(bodies)) == 3
    assert all(low <= 0 < high for level in ranges for low, high in level.values())


@pytest.mark.parametrize("scale, offset", [(1 / 127.5, -1), (1 / 128, -127 / 128), (1 / 255, 0), (1, 0)])
def test_a_normalised_pixel_lies_on_no_border_between_two_steps(scale, offset):
    """Else every implementation rounds it in another way."""
    low, high = _fixed_range(keras.layers.Rescaling(scale, offset))
    step, pixels = (high - low) / 255, scale * np.arange(256) + offset
    assert low <= pixels[0] + 1e-6 and pixels[-1] <= high + 1e-6 and step < 1.01 * scale
    assert abs(low / step - round(low / step)) < 1e-4  # 0 is a step
    assert np.abs(pixels / step % 1 - 0.5).min() > 1e-3


@pytest.fixture(scope="module")
def refusing():
    """Do not change it."""
    return pair()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "calibration_data must be given for quantization='int8'"),
        (X[:0], r"calibration_data must be images of shape \(count, 8, 8, 1\), received float32 \(0, 8, 8, 1\)"),
        (X[..., 0], "calibration_data must be images of shape"),
        (np.array("x"), "calibration_data must be images of shape"),
        (X - 300, r"calibration_data must lie in \[0, 255\], received values from"),
        (X * np.nan, r"calibration_data must lie in \[0, 255\]"),
    ],
    ids=range(6),
)
def test_bad_images(refusing, given, message):
    with pytest.raises(ValueError, match=message):
        activation_ranges(refusing, given)


def test_transformers_are_refused():
    with pytest.raises(ValueError, match=r"int8 knows no \w+ \(\w+\).*use quantization='dynamic_int8'"):
        activation_ranges(nano_vit(), X)
    with pytest.raises(ValueError, match="int8 knows no"):
        check_quantize(nano_vit(), "int8")


def test_check_quantize():
    model = nano()
    assert check_quantize(model, None) is Compute and check_quantize(model, "int8") is FakeQuantized
    with pytest.raises(ValueError, match="quantize must be None or 'int8', received 'int4'"):
        check_quantize(model, "int4")
