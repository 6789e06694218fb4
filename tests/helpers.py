"""What several test files share: random weights, images, comparisons."""

import contextlib
import warnings
from unittest import mock

import h5py
import keras
import numpy as np
import tensorflow as tf

from ds_keras import zoo
from ds_keras.core.visitor import Compute
from ds_keras.layers import SliceableBatchNormalization
from ds_keras.lcnet.model import LCStage
from ds_keras.models import DSMobileNet, DSMobileNetV2, DSResNet, DSViT, LCResNet
from ds_keras.models.inverted import InvertedStage
from ds_keras.models.mobilenet import TINY, Stage
from ds_keras.models.vit import Row
from ds_keras.routing import budget

SUPERNETS = [name for name in zoo.list_models() if "levels" in zoo.card(name)]  # the shipped ones


def fill(layer, seed=0):
    """Puts random, non-trivial values into every weight of a built layer or model, statistics too."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        name, shape = weight.path.split("/")[-1], tuple(weight.shape)
        if name in ("moving_variance", "gamma"):
            value = rng.uniform(0.5, 1.5, shape)
        elif name.endswith("kernel"):
            fan = shape[0] * shape[1] if len(shape) == 4 and shape[-1] == 1 else np.prod(shape[:-1])
            value = rng.normal(0, 1.4 / np.sqrt(fan), shape)
        elif name == "cascade_thresholds":
            value = np.full(shape, 0.4)
        else:
            value = rng.normal(0, 0.3, shape)
        weight.assign(value)
    return layer


class _Standardise(Compute):
    """Gives every BatchNorm statistics near those of its input: each logit then depends on the image."""

    def __init__(self, level, rng):
        super().__init__(level)
        self.rng = rng

    def apply(self, layer, x):
        if not isinstance(layer, SliceableBatchNormalization):
            return super().apply(layer, x)
        y, mean, variance = layer.normalize_batch(x)
        mean, deviation = array(mean), np.sqrt(array(variance) + 1e-3)
        factor = self.rng.uniform(0.7, 1.4, mean.shape)
        mean += 0.2 * deviation * self.rng.normal(size=mean.shape)
        layer.set_statistics(self.level, mean, (deviation * factor) ** 2)
        return y


WITHOUT_WEIGHTS = ("name", "labels", "default_policy", "cascade", "budget_table", "dropout", "bn_momentum")
_FILLED = {}  # weights by what ``fill_model`` was given: making them takes longer than copying them


def _zeros(_, shape, dtype):
    return np.zeros(shape, dtype)


def fill_model(model, seed=0):
    """``fill``, with statistics that suit the weights; different for every level, and not the true ones."""
    with mock.patch.object(keras.initializers.VarianceScaling, "__call__", _zeros):
        model.build()  # nothing is drawn: every weight is written below
    config = {key: value for key, value in model.get_config().items() if key not in WITHOUT_WEIGHTS}
    key = (type(model), seed, model.dtype_policy.name, repr(config))
    if key in _FILLED:
        model.set_weights(_FILLED[key])
        return model
    fill(model, seed)
    rng, x = np.random.default_rng(seed), tf.constant(images(64, model.image_shape[0], model.image_shape[-1], seed=2))
    for level in sorted({level.index for level in (*model.levels, model.teacher_level)}):
        model.logits(_Standardise(level, rng), x)
    model.classifier.kernel.assign(2 * array(model.classifier.kernel))
    _FILLED[key] = model.get_weights()
    return model


def images(count, size=8, channels=1, seed=1):
    """(count, size, size, channels) float32 in [0, 255]; brightness and contrast differ from image to image."""
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.uniform(0, 255, (2, count, 1, 1, 1)), axis=0)
    return rng.uniform(low, high, (count, size, size, channels)).astype("float32")


def tiny(seed=0, spread=True, **kwargs):
    """``DSMobileNet.tiny`` without its last stage, which takes half as long to trace, with random weights.

    ``spread`` centres the gate, so that images differ in level.
    """
    model = DSMobileNet(8, TINY[:-1], 10, **{"input_shape": (8, 8, 1), "stem_stride": 1, **kwargs})
    fill_model(model, seed)
    if spread:
        spread_gate(model)
    return model


def nano(**kwargs):
    """Three levels, three blocks: the quickest network to trace."""
    stages = (Stage(6, 1), Stage((4, 6, 8), 1, 2, gate=True), Stage((4, 8, 12), 1))
    model = DSMobileNet(**{"stem": 4, "stages": stages, "num_classes": 3, "input_shape": (8, 8, 1), **kwargs})
    return fill_model(model)


def pair(**kwargs):
    """As ``nano``, with two levels and two blocks: where the number of levels says nothing."""
    return nano(stages=(Stage(6, 1), Stage((4, 12), 1, 2, gate=True)), **kwargs)


def nano_resnet(**kwargs):
    """As ``nano``: three levels of basic blocks, the last with a kernel that grows, and one that level 0 lacks."""
    stages = (Stage(6, 1), Stage((4, 6, 8), (1, 2, 2), 2, gate=True), Stage((4, 8, 12), 1, kernel=(1, 3, 5)))
    small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False, "block": "basic"}
    given = {"stem": 4, "stages": stages, "num_classes": 3, "input_shape": (8, 8, 1), **small}
    return fill_model(DSResNet(**{**given, **kwargs}))


def nano_v2(**kwargs):
    """As ``nano``: inverted residuals that differ in width, expansion, kernel and depth."""
    stages = (
        InvertedStage(6, 1, expansion=1),
        InvertedStage((4, 6, 8), (1, 2, 2), 2, gate=True, expansion=(1, 1.5, 2)),
        InvertedStage((4, 8, 12), 1, kernel=(3, 3, 5), expansion=2),
    )
    given = {"stem": 4, "stages": stages, "last": (8, 12, 16), "num_classes": 3, "input_shape": (8, 8, 1)}
    return fill_model(DSMobileNetV2(**{**given, "stem_stride": 1, **kwargs}))


def nano_vit(**kwargs):
    """As ``nano``: three levels, one shared block and two sliced ones, of which level 0 has one; four tokens."""
    rows = (Row(4, 1, 6, 1), Row(8, 2, 12, 2), Row(12, 3, 20, 2))
    given = {"rows": rows, "depth": 3, "head_size": 4, "patch": 4, "stem": (4, 6), "class_token": False}
    return fill_model(DSViT(**{**given, "num_classes": 3, "input_shape": (8, 8, 1), **kwargs}))


class _Capture(Compute):
    """Keeps what one layer reads."""

    def __init__(self, layer):
        super().__init__(0)
        self.layer = layer

    def apply(self, layer, x):
        if layer is self.layer:
            self.features = array(x)
        return super().apply(layer, x)


def spread_gate(model):
    """Gives every gate logit mean 0 and deviation 1 over a set of images, so that the argmax takes every level."""
    head = model.gate_layer()
    gate = model.gate_block if hasattr(model, "gate_block") else model.blocks[model.gated_block].gate
    for layer in (head.dense if head.hidden else None, gate.reduce if gate.attention else None):
        if layer is not None:
            layer.bias.assign(0.5 + np.abs(array(layer.bias)))  # no dead units
    visitor = _Capture(head.logits)
    model.gate(visitor, model.start(visitor, images(256, model.image_shape[0], model.image_shape[-1], seed=2))[1])
    if head.hidden:
        head.logits.bias.assign(0 * head.logits.bias)
    kernel, mean = array(head.logits.kernel), visitor.features.mean(0)
    kernel = kernel - np.outer(mean, mean @ kernel) / (mean @ mean)
    head.logits.kernel.assign(kernel / (visitor.features @ kernel).std(0))


def budgeted_nano(x, points, **kwargs):
    """``nano`` with images of different levels, and a budget table measured on the images ``x``."""
    model = nano(gate_hidden=4, **kwargs)
    spread_gate(model)
    budget.measure_budget(model, x, np.arange(len(x)) % 3, points=points)
    return model


def array(variable):
    """A numpy copy of a variable or tensor."""
    return np.asarray(variable).copy()


def snapshot(model):
    """Every weight by path, as numpy."""
    return {weight.path: array(weight) for weight in model.weights}


def stored(path):
    """Every array of a file of weights by its name in the file, as numpy."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def close(actual, expected, tolerance=1e-4):
    """Equal within ``tolerance`` x max(1, largest |expected|)."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max(initial=0)))


def same(actual, expected):
    """Bit for bit equal."""
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


def in_graph(function):
    """``tf.function`` without autograph: the graph that a user's own function makes."""
    return tf.function(function, autograph=False)


@contextlib.contextmanager
def without_tracing():
    """Runs the functions of TensorFlow eagerly: where they run a few times, tracing them takes most of the time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions_eagerly`")
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(False)


def nano_lc(seed=0, **kwargs):
    """Two blocks (one with a convolution in its shortcut), random weights, and predictors by which images differ."""
    stages = (LCStage(8, 1), LCStage(16, 1, 2)) if kwargs.get("block") != "bottleneck" else (LCStage(16, 2),)
    small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False, "block": "basic", "groups": 2}
    given = {"stages": stages, "num_classes": 3, "input_shape": (8, 8, 1), **small}
    model = LCResNet(**{"stem": 8, **given, **kwargs})
    model.build()
    fill(model, seed)
    rng = np.random.default_rng(seed)
    for block in model.blocks:
        if block.predictor is not None:
            block.predictor.kernel.assign(rng.normal(0, 0.5, block.predictor.kernel.shape))
            block.predictor.bias.assign(rng.normal(-0.25, 0.125, block.predictor.bias.shape))
    return model
