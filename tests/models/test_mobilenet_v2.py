import json

import numpy as np
import pytest
from helpers import close, images, nano_v2

from ds_keras import export
from ds_keras.core import cost
from ds_keras.export.flatbuffer import operators
from ds_keras.export.tflite.convert import run_tflite
from ds_keras.models import DSMobileNetV2
from ds_keras.models.inverted import InvertedStage

# Published parameters in millions, and multiply-adds by our count; MobileNetV2's are published (300M).
PUBLISHED = {
    "imagenet": (lambda **kwargs: DSMobileNetV2.imagenet(**kwargs), 3.50, 300.8),
    "lite0": (lambda **kwargs: DSMobileNetV2.efficientnet_lite(0, **kwargs), 4.65, 385.3),
    "lite1": (lambda **kwargs: DSMobileNetV2.efficientnet_lite(1, **kwargs), 5.42, 600.3),
    "lite2": (lambda **kwargs: DSMobileNetV2.efficientnet_lite(2, **kwargs), 6.09, 859.8),
}
FIRST = InvertedStage(6, 1, expansion=1)
GATED = InvertedStage((4, 6), 1, 2, gate=True)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    make, params, madds = PUBLISHED[name]
    model = make()
    assert cost.params(model, 3) / 1e6 == pytest.approx(params, rel=0.005)
    assert cost.madds(model, 3) / 1e6 == pytest.approx(madds, rel=0.005)
    shares = [cost.madds(model, k) / cost.madds(model, 3) for k in range(4)]
    assert shares[0] <= 0.12
    assert shares[1:3] == pytest.approx([0.25, 0.5], abs=0.08)
    assert not model.built


def test_published_multiply_adds_of_lite_count_more():
    """407, 631 and 899 million: 5 % above a count of convolutions and dense layers."""
    for variant, published in enumerate((407, 631, 899)):
        ours = cost.madds(DSMobileNetV2.efficientnet_lite(variant), 3) / 1e6
        assert published / ours == pytest.approx(1.05, abs=0.01)


@pytest.mark.parametrize("size", [pytest.param(96, marks=pytest.mark.slow), 130])
def test_any_size_from_96(size):
    model = DSMobileNetV2.efficientnet_lite(0, 3, (size, size, 3))
    x = images(2, size, 3)
    assert model(x, level=0).shape == (2, 3)
    assert sorted(model.features(x, level=1)) == [2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param({}, marks=pytest.mark.slow),  # test_architectures.py
        {"attention": True},
        pytest.param({"activation": "swish"}, marks=pytest.mark.slow),
        {"activation": "hard_swish", "padding": "symmetric"},
    ],
    ids=str,
)
def test_levels_equal_plain_networks(kwargs):
    model, x = nano_v2(**kwargs), images(6)
    for level in range(3):
        close(export.subnet(model, level, fold_batch_norm=True)(x), model(x, level=level))


def test_hard_swish_is_one_operator_of_litert(tmp_path):
    model = nano_v2(activation="hard_swish")
    (path,) = export.to_tflite(model, tmp_path, [0])
    names = operators(path.read_bytes())
    assert "HARD_SWISH" in names and not {"LOGISTIC", "RELU6"} & set(names)


def test_config_round_trip():
    model = nano_v2(attention=True, activation="swish", dropout=0.1, gate_hidden=5, name="mine")
    config = json.loads(json.dumps(model.get_config()))
    twin = DSMobileNetV2.from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config
    assert twin.levels == model.levels


def test_levels_name_every_dimension_that_is_sliced():
    ratios = nano_v2().levels[0].ratios
    assert ratios == pytest.approx(
        {
            "stage2": 0.5,
            "stage2_depth": 0.5,
            "stage2_expansion": 0.5,
            "stage3": 1 / 3,
            "stage3_kernel": 0.6,
            "last": 0.5,
        }
    )


@pytest.mark.slow  # integers alone, of another architecture: tests/export/test_int8.py
def test_int8_file_names_the_same_classes(tmp_path):
    model, x = nano_v2(), images(64)
    (path,) = export.to_tflite(model, tmp_path, levels=[2], quantization="int8", calibration_data=x)
    rounded = np.round(x)
    logits = [run_tflite(path.read_bytes(), image[None])["logits"][0] for image in rounded]
    expected = np.argmax(model(rounded, level=2), axis=-1)
    assert np.mean(np.argmax(logits, axis=-1) == expected) > 0.85


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "gelu"}, "activation must be one of"),
        ({"last": (8, 4)}, "last must be an int"),
        ({"last": (8, 12, 16)}, "last must be an int"),
        ({"stages": (FIRST, InvertedStage((4, 6), 1, gate=True, expansion=(2, 1)))}, "stage 2: expansion"),
        ({"stages": (InvertedStage(6, 1, expansion=(1, 2)), GATED)}, "stage 1: expansion"),
        ({"stages": (FIRST, GATED, {"width": [4, 8], "depht": 1})}, "fields of InvertedStage"),
        ({"stages": (FIRST, GATED, InvertedStage((5, 6), 1))}, "widths must be those of its input"),
    ],
)
def test_bad_tables_are_refused(change, message):
    given = {"stem": 4, "stages": (FIRST, GATED), "last": 8, "num_classes": 3, "input_shape": (8, 8, 1)}
    with pytest.raises(ValueError, match=message):
        DSMobileNetV2(**{**given, **change})


def test_unknown_variant():
    with pytest.raises(ValueError, match="variant must be one of"):
        DSMobileNetV2.efficientnet_lite(3)
