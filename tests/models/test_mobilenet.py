import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, fill_model, images, in_graph, nano, same, tiny

from ds_keras.core import cost
from ds_keras.export.subnet import subnet
from ds_keras.models import DSMobileNet
from ds_keras.models.mobilenet import TINY, Stage

# The released figures, in millions.
IMAGENET = "132.9 152.9 175.2 199.6 226.2 255.1 286.2 319.4 354.9 392.6 432.5 474.6 518.9 565.4"
VARIANTS = [
    {},
    {"attention": False, "gate_hidden": 8},
    {"residual": True, "padding": "symmetric"},
    {"gate_hidden": 8, "activation": "relu", "mean": [100.0], "std": [50.0]},
]


def test_imagenet_costs_what_the_paper_says():
    model = DSMobileNet.imagenet()
    assert len(model.levels) == 14
    for level, expected in zip(model.levels, IMAGENET.split(), strict=True):
        assert cost.madds(model, level) / 1e6 == pytest.approx(float(expected), abs=0.1)
    assert cost.madds(model, model.teacher_level) / 1e6 == pytest.approx(820, abs=3)
    assert not model.built


@pytest.mark.parametrize(
    "make",
    [
        lambda **kwargs: DSMobileNet.tiny(3, **kwargs),
        lambda **kwargs: DSMobileNet.small(3, (28, 28, 1), **kwargs),
        lambda **kwargs: DSMobileNet.medium(3, **kwargs),
        lambda **kwargs: DSMobileNet.imagenet(3, **kwargs),
    ],
    ids=["tiny", "small", "medium", "imagenet"],
)
def test_config_round_trip(make):
    model = make(
        labels=["a", "b", "c"],
        budget_table={"gate": [[[0.5], 1e6, 0.9], [[-0.5], 2e6, 0.95]], "levels": [[[0], 1e6, 0.9]]},
        default_policy="cascade",
        cascade=(1, 2),
        residual=True,
        attention=False,
        padding="symmetric",
        gate_hidden=4,
        mean=[1.0],
        std=[2.0],
        dropout=0.3,
        name="mine",
    )
    config = json.loads(json.dumps(model.get_config()))
    twin = DSMobileNet.from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config
    assert twin.levels == model.levels
    assert twin.teacher_level == model.teacher_level
    assert twin.labels == ["a", "b", "c"]
    assert twin.costs == model.costs


def test_a_config_is_a_copy():
    model = DSMobileNet.tiny(3, labels=["a", "b", "c"])
    config = model.get_config()
    config["budget_table"]["gate"] = config["labels"][0] = "changed"
    assert "gate" not in model.budget_table
    assert model.labels == ["a", "b", "c"]


@pytest.mark.parametrize(
    "rows",
    [
        [[[0.5], 2e6, 0.95], [[-0.5], 1e6, 0.9]],
        [[[0.5], float("nan"), 0.95], [[-0.5], 1e6, 0.9]],
        [[[0.5], 1e6]],
        [[[0.5], 1e6, 0.9, [0.5, 0.5]]],
        "rows",
    ],
    ids=["falling", "nan", "short", "passes of two levels", "text"],
)
def test_a_budget_table_that_cannot_be_looked_up_is_refused(model, rows):
    before = model.budget_table
    with pytest.raises(ValueError, match="by rising MAdds"):
        model.budget_table = {"gate": rows}
    assert model.budget_table == before


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_saving_round_trip(tmp_path, model, x, suffix):
    path = str(tmp_path / f"m{suffix}")
    if suffix == ".keras":
        model.save(path)
        twin = keras.models.load_model(path)
    else:
        model.save_weights(path)
        twin = DSMobileNet.from_config(model.get_config())
        twin.build()
        twin.load_weights(path)
    assert type(twin) is DSMobileNet
    for level in range(4):
        same(twin(x, level=level), model(x, level=level))
    same(twin(x), model(x))
    same(twin.cascade_thresholds, model.cascade_thresholds)
    same(twin.route(x), model.route(x))


def test_saving_keeps_the_precision(tmp_path):
    model = tiny().clone("mixed_bfloat16")
    model.save(str(tmp_path / "m.keras"))
    assert keras.models.load_model(str(tmp_path / "m.keras")).dtype_policy.name == "mixed_bfloat16"
    with pytest.raises(ValueError, match="dtype must be 'float32' or a mixed policy, received 'bfloat16'"):
        model.clone("bfloat16")


def test_clone_has_its_own_weights(x):
    model = tiny(budget_table={"gate": [[[0.5], 1e6, 0.9]]}, labels=list("abcdefghij"))
    twin = model.clone()
    assert twin.get_config() == model.get_config()
    same(twin(x, level=1), model(x, level=1))
    twin.classifier.bias.assign(np.ones(10))
    assert np.abs(twin(x, level=1) - model(x, level=1)).max() > 0.01


@pytest.mark.parametrize(
    "variant", [pytest.param(v, marks=[pytest.mark.slow] * (i > 0)) for i, v in enumerate(VARIANTS)], ids=str
)
def test_tensor_level_equals_int_level(x, variant):
    model = tiny(**variant)
    graph = in_graph(lambda x, level: model(x, level=level))
    logits = [model(x, level=level) for level in range(4)]
    for level in (0, 3):
        close(model(x, level=tf.constant(level)), logits[level])
        close(graph(x, tf.constant(level)), logits[level])
        close(model(x, level=model.levels[level]), logits[level])
    assert min(np.abs(a - b).max() for i, a in enumerate(logits) for b in logits[:i]) > 0.01


def test_tensor_level_trains_like_int_level(x):
    a, b = nano(), nano()
    for level in (1, 2):
        close(a(x, level=level, training=True), b(x, level=tf.constant(level), training=True))
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        close(one, other)


def test_teacher_level_runs_wider(x):
    model = nano(stem=(4, 6), stages=(Stage(6, 1, teacher=8), Stage((4, 6, 8), 1, 2, gate=True)))
    assert model.teacher_level.index == 3
    assert model.stem_norm.moving_mean.shape == (2, 6)
    assert model(x, level=model.teacher_level).shape == (12, 3)
    assert cost.madds(model, model.teacher_level) > cost.madds(model, 2)
    before = np.array(model(x, level=2))
    model.stem.kernel.assign(np.where(np.arange(6) < 4, model.stem.kernel, 0))
    same(model(x, level=2), before)
    with pytest.raises(ValueError, match="level must be an integer"):
        model(x, level=3)


@pytest.mark.parametrize("level", [-1, 4, 1.0, True, "0"])
def test_wrong_level(model, x, level):
    with pytest.raises(ValueError, match=r"level must be an integer in \[0, 4\)"):
        model(x, level=level)


def test_wrong_tensor_level_and_foreign_level(model, x):
    for call in (model, in_graph(lambda x, level: model(x, level=level))):
        with pytest.raises(tf.errors.InvalidArgumentError, match="level must be in"):
            call(x, level=tf.constant(4))
    with pytest.raises(ValueError, match="one of the model's levels"):
        model(x, level=DSMobileNet.medium(10).levels[0])


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (8, 8, 1), (2, 64)])
def test_wrong_images(model, shape):
    for run in (model, model.route, lambda x: model(x, level=0)):
        with pytest.raises(ValueError, match=r"x must have shape \(batch, height, width, 1\), received"):
            run(np.zeros(shape, "float32"))


def test_training_without_a_level_names_the_trainers(model, x):
    with pytest.raises(ValueError, match=r"(?s)SupernetTrainer.*GateTrainer"):
        model(x, training=True)
    twin = nano()
    twin.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"trained by a trainer, not by model\.fit:\n.*SupernetTrainer"):
        twin.fit(x, np.zeros((12, 3)), verbose=0)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((*TINY, Stage((1, 2, 3, 4), 1, gate=True)), "exactly one row with gate=True, received 2"),
        (TINY[:1], "exactly one row with gate=True, received 0"),
        ((Stage((8, 16), 1), *TINY[1:]), "stage 1 lies before the gate"),
        ((*TINY, Stage((8, 16, 12, 24), 1)), "widths must not decrease"),
        ((*TINY, Stage((8, 16, 24), 1)), "a tuple of equal length"),
        ((*TINY, Stage(32, 1)), "a tuple of equal length"),
        ((Stage(8, 1), Stage((8,), 1, gate=True)), "a tuple of equal length"),
        ((*TINY, Stage((1, 2, 3, 4), 1, teacher=8)), "wider only before the gate"),
        ((Stage(8, 1, teacher=4), *TINY[1:]), "must be at least width=8"),
        ((Stage(8, 0), *TINY[1:]), "depth must be at least 1"),
        ((Stage(8, (1, 1, 1, 2)), *TINY[1:]), r"stage 1: depth must be an int, .* received \(1, 1, 1, 2\)"),
        ((*TINY, Stage((1, 2, 3, 4), (1, 1.5, 2, 2))), r"stage 4: depth must be an int or a tuple of them, received"),
        ((*TINY, Stage((1, 2, 3, 4), None)), "stage 4: depth must be an int or a tuple of them, received None"),
        ((*TINY, Stage((1, 2, 3, 4), (1, 2))), "stage 4: depth must be an int, or after the gate one for each level"),
        ((*TINY, Stage((1, 2, 3, 4), (1, 2, 1, 2))), "depth must be at least 1 and must not decrease"),
    ],
)
def test_bad_tables(stages, message):
    with pytest.raises(ValueError, match=message):
        DSMobileNet(8, stages)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes must be an integer of at least 2, received 1"),
        ({"num_classes": 2.5}, "num_classes must be an integer"),
        ({"labels": ["a"]}, r"labels must name num_classes=3 classes, received \['a'\]"),
        ({"labels": [0, 1, 2]}, r"labels must name num_classes=3 classes, received \[0, 1, 2\]"),
        ({"default_policy": "best"}, "policy must be one of"),
        ({"default_policy": 9}, "or an integer level in"),
        ({"cascade": (0, 9)}, r"cascade must be two or more levels in \[0, 4\)"),
        ({"std": 0.0}, "std"),
        ({"padding": "full"}, "padding must be one of"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DSMobileNet.tiny(**{"num_classes": 3, **arguments})


def test_uint8_and_float_images_give_equal_logits(model, x):
    whole = x.astype("uint8")
    for level in (0, 3):
        same(model(whole, level=level), model(whole.astype("float32"), level=level))
    same(model(whole), model(whole.astype("float32")))
    same(model.predict_routed(whole).logits, model.predict_routed(whole.astype("float32")).logits)


def test_mean_and_std_normalise(x):
    model = tiny(mean=[40.0], std=[20.0])
    twin = tiny(mean=0.0, std=1.0)
    twin.set_weights(model.get_weights())
    close(model(x, level=1), twin((x - 40) / 20, level=1))


def test_route_subtracts_the_budget_shift(model, x):
    logits = np.array(model.route(x))
    assert logits.shape == (12, 4)
    twin = model.clone()
    twin.gate_shift.assign(model.gate_shift + 2.0)
    bodies = np.array([part.body for part in model.costs])
    close(twin.route(x), logits - 2 * bodies / bodies[-1])


@pytest.mark.parametrize("level", [0, 1])
def test_features_at_every_stride(x, level):
    stages = (Stage(16, 1), Stage((24, 96), 2, 2, gate=True), Stage((8, 32), 1, 2))
    model = DSMobileNet(8, stages, 10, (16, 16, 1))
    maps = model.features(images(2, 16), level=level)
    shapes = {stride: tuple(value.shape) for stride, value in maps.items()}
    assert shapes == {2: (2, 8, 8, 16), 4: (2, 4, 4, (24, 96)[level > 0]), 8: (2, 2, 2, (8, 32)[level > 0])}
    fill_model(model)
    pooled = tf.reduce_mean(model.features(images(2, 16), level=level)[8], [1, 2])
    close(model.classifier(pooled, level=level), model(images(2, 16), level=level))


def test_variables_split_between_the_stages():
    model = tiny(gate_hidden=8)
    gate = [v.path for v in model.gate_variables]
    assert len(gate) == 4
    everything = [v.path for v in model.trainable_variables]
    assert sorted(gate + [v.path for v in model.supernet_variables]) == sorted(everything)
    assert len(set(everything)) == len(everything)


def test_a_choice_of_the_released_levels():
    model, every = DSMobileNet.imagenet(levels=(0, 4, 13)), DSMobileNet.imagenet()
    for k, released in enumerate((0, 4, 13)):
        assert cost.madds(model, k) == cost.madds(every, released)
        assert cost.params(model, k) == cost.params(every, released)
    assert len(every.levels) == 14 and cost.madds(model, model.teacher_level) == cost.madds(every, every.teacher_level)
    with pytest.raises(ValueError, match=r"levels must be two or more levels in \[0, 14\), smaller ones first"):
        DSMobileNet.imagenet(levels=(4, 0))


def test_a_shallower_level_is_the_first_blocks_of_each_stage():
    """Its plain network has as many; its cost is that of a table of that depth."""
    stages = {
        "shallow": (Stage(6, 1), Stage((4, 4, 8), (2, 3, 3), 2, gate=True), Stage((8, 8, 12), (1, 2, 2), 2)),
        "flat": (Stage(6, 1), Stage((4, 4, 8), 2, 2, gate=True), Stage((8, 8, 12), 1, 2)),
    }
    shallow, flat = (DSMobileNet(4, rows, 3, (8, 8, 1), residual=True) for rows in stages.values())
    assert cost.madds(shallow, 0) == cost.madds(flat, 0) and cost.params(shallow, 0) == cost.params(flat, 0)
    assert cost.madds(shallow, 1) > cost.madds(flat, 1)
    assert shallow.levels[0].ratios == {"stage2": 0.5, "stage2_depth": 2 / 3, "stage3": 2 / 3, "stage3_depth": 0.5}
    shallow.build()
    names = [{layer.name for layer in subnet(shallow, level).layers} for level in range(3)]
    lacking = {f"{block}_depthwise" for block in ("stage2_block3", "stage3_block2")}
    assert not lacking & names[0] and lacking <= names[1] and lacking <= names[2]
