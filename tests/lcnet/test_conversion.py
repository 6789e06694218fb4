"""A level of a DS-ResNet as an LC-ResNet: the same table, the same logits, the same multiply-adds."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import close, fill, images, nano

from ds_keras import export
from ds_keras.core import cost
from ds_keras.lcnet import from_level
from ds_keras.lcnet.skipping import in_conditional, in_full
from ds_keras.models import DSResNet
from ds_keras.models.stage import Stage

STAGES = (Stage(8, 1), Stage((8, 16), (1, 2), 1, gate=True))  # level 0: a shortcut has weights and changes nothing else


def supernet(stages=STAGES, input_shape=(8, 8, 1), **kwargs):
    small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False, "block": "basic", "padding": "same"}
    model = DSResNet(4, stages, 3, input_shape, **{**small, "labels": ["a", "b", "c"], **kwargs})
    model.build()
    fill(model, 0)
    return model


@pytest.fixture(scope="module")
def basic():
    return supernet()


@pytest.mark.parametrize(
    ("kwargs", "level", "options"),
    [
        ({}, 0, {"groups": 2}),
        ({"block": "bottleneck", "activation": "relu6"}, 1, {"groups": 0, "layers": False}),
        pytest.param({"attention": False}, 0, {}, marks=pytest.mark.slow),  # tests/lcnet/test_compare.py trains one
    ],
)
def test_open_predictors_give_the_level(basic, kwargs, level, options):
    given, x = supernet(**kwargs) if kwargs else basic, images(4)
    model = from_level(given, level, **options)
    executed = model.run(x)
    close(executed.logits, given(x, level=level), 1e-4)
    assert np.all(executed.scales == 1) and model.labels == given.labels
    if not model.predictors:
        assert model.madds == cost.madds(given, level)


CAFFE = {"stem_kernel": 7, "stem_stride": 2, "stem_pool": "end", "block": "bottleneck", "stride_in": "1x1"}


def test_a_network_of_caffe_gives_the_level():
    rows = (Stage(8, 1), Stage((8, 16), (1, 2), 2, gate=True))
    given, x = supernet(rows, (20, 20, 1), padding="symmetric", **CAFFE), images(4, 20)
    assert from_level(given, layers=False, groups=0).madds == cost.madds(given, 1)
    model = from_level(given, always=0, groups=2)
    close(model.run(x).logits, given(x, level=1), 1e-4)
    some = np.tile(np.array([1, 1, 0, 1, 0, 1, 0, 1, 1], "float32"), (4, 1))  # block, group, group of each block
    executed = model.run(x, scales=some)
    close(executed.logits, model.forward(x, in_full, scales=tf.constant(some))[0])
    assert executed.madds[0] < model.madds


def test_first_blocks_always_run(basic):
    model = from_level(basic, always=1, groups=0)
    assert model.units == ["stage2_block2"]
    model = from_level(basic, always=0, groups=0)
    assert model.units == ["stage1_block1", "stage2_block1", "stage2_block2"]
    assert from_level(basic, always=2, groups=2).units[0] == "stage1_block1/group0"
    closed = np.zeros((2, 3), "float32")
    assert model.run(images(2), scales=closed).madds[0] < model.madds


def test_ways_to_skip_agree_with_attention(basic, tmp_path):
    model = from_level(basic, 0, groups=2)
    rng = np.random.default_rng(0)
    for block in model.blocks:
        block.predictor.kernel.assign(rng.normal(0, 1.0, block.predictor.kernel.shape))
        block.predictor.bias.assign(rng.normal(0.25, 0.1, block.predictor.bias.shape))
    x = images(6)
    full, _ = model.forward(x, in_full)
    executed = model.run(x)
    assert 0 < (executed.scales > 0).mean() < 1
    close(executed.logits, full)
    close(model.forward(x[:1], in_conditional)[0], full[:1])
    close(model.clone().run(x).logits, full)
    (path,) = export.to_tflite(model, tmp_path)  # compared with Keras before it is kept
    assert path.is_file()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_level(nano()), "supernet must be a DSResNet, received DSMobileNet"),
        (lambda: from_level(supernet(padding="symmetric")), r"received \{'padding': 'symmetric'\}"),
        (lambda: from_level(supernet(stem_pool=True)), r"received \{'stem_pool': True\}"),
        (lambda: from_level(supernet(input_shape=(18, 18, 1), padding="symmetric", **CAFFE)), "an even size behind"),
        (lambda: from_level(supernet(block="bottleneck", expansion=2)), r"received \{'expansion': 2\}"),
        (lambda: from_level(supernet(), 5), "level"),
        (lambda: from_level(supernet(), groups=3), "groups must be 0, or divide"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
