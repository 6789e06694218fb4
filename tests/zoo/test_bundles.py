"""The bundles that ship belong to the weights that ship."""

import numpy as np
import pytest
from helpers import SUPERNETS, array, close, same

from ds_keras import detection, zoo
from ds_keras.runtime import Bundle, Session


@pytest.mark.parametrize("name", SUPERNETS)
def test_a_shipped_bundle_runs_as_its_preset(name):
    model, session = zoo.load(name), Session(zoo.bundle(name))
    x = np.random.default_rng(0).integers(0, 256, (2, *model.image_shape)).astype("float32")
    for level in (0, len(model.levels) - 1):
        close(session.run(x, level=level).logits, model(x, level=level), tolerance=2e-2)
    policy = session.manifest["policy"]
    assert session.default_policy == model.default_policy and policy["budget_table"] == model.budget_table
    assert tuple(policy["cascade"]) == model.cascade
    same(policy["knobs"]["cascade"], array(model.cascade_thresholds)[: len(model.cascade) - 1])
    same(policy["knobs"]["gate"], array(model.gate_shift))
    assert session.labels == model.labels
    assert session.manifest["madds"]["body"] == [part.body for part in model.costs]


@pytest.mark.parametrize("name", zoo.list_models("detection"))
def test_a_shipped_detector_holds_the_cascade_of_its_card(name):
    card, session = zoo.card(name), detection.Session(zoo.bundle(name))
    assert session.cascade.spec.cascade == tuple(card["cascade"]["levels"])
    assert session.cascade.confidence == card["cascade"]["confidence"]
    assert [session.spec.start + body for body in session.spec.bodies] == [row["madds"] for row in card["levels"]]
    assert session.labels == list(card["levels"][0]["classes"]) and list(session.shape) == card["input_shape"]


def test_a_preset_without_a_bundle(tmp_path):
    zoo.save(zoo.load("ds_mobilenet_digits"), tmp_path)
    with pytest.raises(ValueError, match="model.dsbundle is missing: make it with"):
        zoo.bundle(tmp_path)
    with pytest.raises(ValueError, match="unknown preset"):
        zoo.bundle("ds_mobilenex")


@pytest.mark.parametrize("name", SUPERNETS)
def test_a_bundle_is_near_half_the_size_of_a_float32_file_of_the_largest_level(name):
    bundle = Bundle(zoo.bundle(name))
    weights = sum(int(np.prod(shape)) for _, shape in bundle.manifest["kernels"]["index"].values())
    assert bundle.manifest["quantization"] == "float16"
    assert zoo.bundle(name).stat().st_size < 1.1 * 2 * weights + 200_000  # route, and a template for each level
