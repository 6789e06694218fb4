"""Recipes compared from the same seeds; the lines of a plot."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import fill, images, nano_lc, without_tracing

from ds_keras import zoo
from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.lcnet import from_level
from ds_keras.lcnet.evaluation import evaluate_lc, fixed_scales, fixed_top1
from ds_keras.lcnet.experiments.compare import VALUES, compare, kind
from ds_keras.lcnet.experiments.lines import lines
from ds_keras.models import DSResNet
from ds_keras.models.stage import Stage
from ds_keras.routing import measure_budget

X, Y = images(12), np.arange(12) % 3


def supernet(classes=3, shape=(8, 8, 1)):
    small = {"stem_kernel": 3, "stem_stride": 1, "stem_pool": False, "block": "basic", "padding": "same"}
    model = DSResNet(4, (Stage(4, 1), Stage((4, 8), 1, 2, gate=True)), classes, shape, **small)
    model.build()
    fill(model, 0)
    return model


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    stage = TrainingStage(1, 0.01, "adam", 64, trainer={"target": 0.8})

    def model(classes, shape):
        return from_level(supernet(classes, shape), always=0, groups=2, name="lc")

    plain = Experiment("lc", "digits", model, stage, None, held_out=40, train_images=64, calibration=(1, 64))
    other = replace(plain, stage1=replace(stage, trainer={"target": 0.8, "price_rate": 0.1}))
    workdir, variants = tmp_path_factory.mktemp("compare"), {"plain": plain, "other": other}
    with without_tracing():
        first = compare(variants, workdir, (0,), verbose=0)
    assert compare(variants, workdir, (0,), verbose=0) == first  # nothing is trained again
    with pytest.raises(ValueError, match="variants and seeds must not be empty"):
        compare({}, workdir)
    assert zoo.load(workdir / "plain-0" / "network").units
    return first["rows"]


def test_every_variant_has_its_figures(rows):
    assert [(row["variant"], row["kind"]) for row in rows] == [("plain", "LC-Net"), ("other", "LC-Net")]
    for row in rows:
        assert all(row[f"{value}_seeds"] == [row[value]] and row[f"{value}_sd"] is None for value in VALUES)
        assert abs(row["worth"] - (row["dynamic"] - row["fixed"])) < 0.02 and 0 < row["share"] <= 100


def test_lines_of_one_kind(rows):
    model = supernet()
    with pytest.raises(ValueError, match="supernet must have a budget table"):
        lines(rows, model, "LC-Net")
    measure_budget(model, X, Y)
    found = lines([*rows, {**rows[0], "variant": "constant-LC"}], model, "LC-Net")
    assert set(found) == {"static", "cascade", "dynamic", "fixed", "shuffled", "constant"}
    assert len(found["static"].cost) == 2 and len(found["dynamic"].cost) == 2 and len(found["constant"].cost) == 1
    assert found["dynamic"].top1.max() == max(row["dynamic"] for row in rows)
    assert set(lines(rows, model, "L-Net")) == {"static", "cascade"}


def test_kinds():
    assert kind(nano_lc(groups=0)) == "L-Net" and kind(nano_lc(layers=False)) == "C-Net"
    assert kind(nano_lc()) == "LC-Net" and kind(nano_lc(layers=False, groups=0)) == ""


def test_fixed_at_exactly_the_cost():
    model = nano_lc()
    asked = model.run(X).madds.mean()
    costs, top1 = [], []
    for above in (False, True):
        scales = np.broadcast_to(fixed_scales(model, X, above=above), (12, 6))
        executed = model.run(X, scales=scales)
        costs.append(executed.madds.mean())
        top1.append(100 * (executed.logits.argmax(1) == Y).mean())
    assert costs[0] <= asked <= costs[1]
    assert type(fixed_top1(model, X, Y)) is float  # it is written as JSON
    assert abs(fixed_top1(model, X, Y) - np.interp(asked, costs, top1)) < 0.02
    assert evaluate_lc(model, X, Y, fixed_scales(model, X))["runs"][2]["madds"] == round(float(costs[1]))
