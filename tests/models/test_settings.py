"""The process' settings of Keras change no network: images have their channels last, weights are float32."""

import contextlib

import keras
import numpy as np
import pytest
from helpers import close, images, nano, nano_lc, nano_resnet, nano_v2, nano_vit

from ds_keras import export, zoo
from ds_keras.training import SupernetTrainer

COLOUR = {"input_shape": (8, 8, 3), "mean": [100.0, 110.0, 120.0], "std": [50.0, 60.0, 70.0]}
MAKE = {
    "mobilenet": lambda: nano(padding="symmetric", **COLOUR),
    "mobilenet_v2": lambda: nano_v2(gate_hidden=4, **COLOUR),
    "resnet": lambda: nano_resnet(stem_pool=True, **{**COLOUR, "input_shape": (16, 16, 3)}),
    "vit": lambda: nano_vit(stem=(), class_token=True, **COLOUR),
    "vit_stem": lambda: nano_vit(gate_hidden=4, **COLOUR),
    "lcnet": lambda: nano_lc(stem_pool=True, **COLOUR),
}
SETTINGS = {
    "channels_first": (keras.config.set_image_data_format, "channels_first", "channels_last"),
    "float16": (keras.config.set_floatx, "float16", "float32"),
    "policy": (keras.config.set_dtype_policy, "float64", "float32"),
    "epsilon": (keras.config.set_epsilon, 0.1, 1e-7),
}


@contextlib.contextmanager
def changed(*names):
    for name in names:
        change, value, _ = SETTINGS[name]
        change(value)
    try:
        yield
    finally:
        for name in names:
            change, _, before = SETTINGS[name]
            change(before)


def logits(model, x):
    return np.array(model(x, level=1) if hasattr(model, "levels") else model(x))


ONE_OF_A_KIND = ("mobilenet", "vit", "lcnet")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in ONE_OF_A_KIND else [pytest.mark.slow]) for kind in MAKE]
)
def test_a_network_is_the_same_under_every_setting(kind, tmp_path):
    model = MAKE[kind]()
    x = images(4, model.image_shape[0], 3)
    expected, shapes = logits(model, x), [w.shape for w in model.weights]
    zoo.save(model, tmp_path)
    with changed(*SETTINGS):
        loaded = zoo.load(tmp_path)
        assert [w.shape for w in loaded.weights] == shapes
        assert {w.dtype for w in loaded.weights} == {"float32"}
        close(logits(loaded, x), expected)
        close(logits(model, x), expected)
        if hasattr(model, "levels"):
            plain = export.subnet(loaded, 1)
            assert plain.inputs[0].dtype == "float32"
            close(plain(x), expected)


def test_a_policy_that_has_other_variables_is_refused_by_name():
    with changed("policy"), pytest.raises(ValueError, match=r"received 'float64' \(without dtype= it is Keras' own"):
        MAKE["mobilenet"]()
    with changed("policy"):
        assert nano(dtype="float32").classifier.kernel.dtype == "float32"


def test_metrics_count_in_float32():
    with changed("float16"):
        trainer = SupernetTrainer(nano(dtype="float32"))
    assert {metric.dtype for metric in trainer.metrics} == {"float32"}
