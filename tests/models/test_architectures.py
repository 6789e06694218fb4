"""What holds for every architecture, through the same functions."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images, in_graph, nano, nano_resnet, nano_v2, nano_vit, same, snapshot, spread_gate

from ds_keras import data, export, runtime, zoo
from ds_keras.core import cost
from ds_keras.core.visitor import Compute, Shapes
from ds_keras.export import flatbuffer
from ds_keras.export.subnet import folded_body
from ds_keras.export.tflite import convert as litert
from ds_keras.export.tflite import template as pack
from ds_keras.routing import execute as routing
from ds_keras.training import GateTrainer, SupernetTrainer, calibrate_batch_norm

MAKE = {
    "mobilenet": lambda **kwargs: nano(gate_hidden=4, **kwargs),
    "mobilenet_v2": lambda **kwargs: nano_v2(gate_hidden=4, **kwargs),
    "resnet_basic": nano_resnet,
    "resnet_bottleneck": lambda **kwargs: nano_resnet(
        block="bottleneck",
        expansion=2,
        stem_stride=2,  # with a border of its own before the one of the pooling
        stem_pool="end",
        attention=False,
        gate_hidden=4,
        input_shape=(16, 16, 1),
        **kwargs,
    ),
    "vit_stem": nano_vit,
    "vit_patches": lambda **kwargs: nano_vit(stem=(), class_token=True, attention=False, gate_hidden=4, **kwargs),
}
X, Y = images(24), np.arange(24) % 3


OBJECTIVES = dict(
    zip(MAKE, ("mvco", "ib", "ib", "mvco", "mvco", "ib"), strict=True)
)  # one each: a trace takes its time


def only(*names):
    """Tracing, converting and training take their time: the other architectures run with -m slow only.

    MobileNets are what most other tests are of: tests/training, tests/export, tests/models/test_mobilenet.py.
    """
    cases = [pytest.param(name, marks=[] if name in names else [pytest.mark.slow]) for name in MAKE]
    return pytest.mark.parametrize("make", cases, indirect=True)


@pytest.fixture(scope="module", params=[pytest.param("mobilenet", marks=pytest.mark.slow), *list(MAKE)[1:]])
def make(request):
    return MAKE[request.param]


@pytest.fixture(scope="module")
def model(make):
    """Random weights and statistics, images of different levels: do not change it."""
    model = make()
    spread_gate(model)
    return model


@pytest.fixture(scope="module")
def x(model):
    return images(12, model.image_shape[0])


@pytest.fixture(scope="module")
def every(model, x):
    """Logits of every level; levels and images differ."""
    logits = [np.array(model(x, level=k)) for k in range(3)]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(logits[a] - logits[b]).max() > 0.02
    assert all(value.std(axis=0).min() > 1e-3 for value in logits)
    return logits


def test_every_level_equals_a_plain_network(model, x, every, tmp_path):
    for level, fold in ((0, True), (2, False)):  # every level in both ways: tests/export/test_subnet.py
        plain = export.subnet(model, level, fold_batch_norm=fold)
        close(plain(x), every[level])
        assert all(type(layer).__module__.startswith("keras.") for layer in plain.operations)
        madds, params = cost.count_plain(plain)
        assert madds == cost.madds(model, level)
        assert fold or params == cost.params(model, level)
    plain.save(tmp_path / "plain.keras")
    close(keras.saving.load_model(tmp_path / "plain.keras", compile=False)(x), every[-1])


def test_a_block_of_its_own_takes_a_level_as_layers_do():
    """An int, numpy's, or an eager tensor; a tensor of a graph only where every level has the block."""
    model = nano_resnet()
    block = model.blocks[1][1]  # which level 0 lacks
    x = tf.ones((2, 4, 4, 8))
    same(block(x, level=np.int64(0)), x)
    same(block(x, level=tf.constant(0)), x)
    same(block(x, level=tf.constant(2)), block(x, level=2))
    assert np.abs(np.array(block(x, level=2)) - x).max() > 0.1
    with pytest.raises(ValueError, match="stage2_block2: levels below 1 lack the block, so level must be an int"):
        in_graph(lambda level: block(x, level=level))(tf.constant(0))


def restore(model, weights):
    for weight in model.weights:
        weight.assign(weights[weight.path])


@only("resnet_basic")
def test_a_tensor_level_equals_an_int(model, x, every):
    graph = in_graph(lambda x, k: model(x, level=k))
    training = in_graph(lambda x, k: model(x, level=k, training=True))
    statistics = snapshot(model)
    for level, expected in enumerate(every):
        close(graph(x, tf.constant(level)), expected)
        close(model(x, level=model.levels[level]), expected)
        expected, moved = np.array(model(x, level=level, training=True)), snapshot(model)
        restore(model, statistics)
        close(training(x, tf.constant(level)), expected)
        for path, value in snapshot(model).items():
            close(value, moved[path])
        restore(model, statistics)


@only("vit_stem")
def test_routing(model, x, every):
    gate = model.predict_routed(x, policy="gate")
    assert len(set(gate.levels)) > 1
    same(gate.levels, np.array(model.route(x)).argmax(1))
    close(gate.logits, np.stack([every[k][i] for i, k in enumerate(gate.levels)]))
    close(model(x), gate.logits)
    start, head, _ = cost.parts(model, 0)
    bodies = [cost.parts(model, k).body for k in range(3)]
    same(gate.madds, [start + head + bodies[k] for k in gate.levels])
    cascade = routing.run(model, x, "cascade")
    close(cascade.logits, np.stack([every[k][i] for i, k in enumerate(np.array(cascade.levels))]))


@pytest.mark.parametrize("levels", [[0], pytest.param([1, 2], marks=pytest.mark.slow)], ids=str)
@only("vit_stem")
def test_tflite_at_every_level(model, x, every, levels, tmp_path):
    """The bundle below runs the other levels."""
    for path, level in zip(export.to_tflite(model, tmp_path, levels), levels, strict=True):
        found, expected = path.read_bytes(), every[level]
        assert not [name for name in flatbuffer.operators(found) if name.startswith("CUSTOM") or "VAR" in name]
        close(np.concatenate([litert.run_tflite(found, image[None])["logits"] for image in x]), expected)
        close(litert.run_tflite(found, x)["logits"], expected)


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    """A quick one of a ResNet, in integers: tests/export/test_int8.py."""
    return export.to_bundle(model, tmp_path_factory.mktemp("bundle") / "model.dsbundle")


@only("vit_stem")
def test_route_and_bodies_are_the_level_in_two_files(model, x, every, bundle):
    """That they are the files of ``to_tflite``: below, and for MobileNets in tests/export/bundle/test_writer.py."""
    reader, visitor = runtime.Bundle(bundle), Compute(0)
    found = litert.run_tflite(reader.file("route"), x)
    close(found["gate"], model.gate(visitor, model.start(visitor, tf.constant(x))[1]))
    close(litert.run_tflite(reader.file("body_1"), found["features"])["logits"], every[1])
    large = {k.key for k in folded_body(model, 1)[1] if 4 * np.prod(k.sizes) >= pack.SMALLEST}
    assert large and {copy.kernel for copy in reader.template("body_1").copies} == large


@pytest.mark.slow
def test_the_files_of_a_bundle_are_those_of_to_tflite(model, x, every, bundle, tmp_path):
    (route,) = export.to_tflite(model, tmp_path, part="route")
    (body,) = export.to_tflite(model, tmp_path, levels=[1], part="body")
    assert [path.name for path in (route, body)] == ["route.tflite", "body_1.tflite"]
    reader = runtime.Bundle(bundle)
    assert reader.file("body_1") == body.read_bytes() and reader.file("route") == route.read_bytes()
    features = litert.run_tflite(route.read_bytes(), x)["features"]
    direct = litert.convert(export.body_network(model, 1))
    close(litert.run_tflite(direct, features)["logits"], every[1])


@only("vit_stem")
def test_a_bundle_runs_as_the_model(model, x, every, bundle):
    session = runtime.Session(bundle)
    for level, expected in enumerate(every):
        close(session.run(x, level=level).logits, expected)
    for policy in ("gate", "cascade"):
        found, expected = session.run(x, policy=policy), model.predict_routed(x, policy=policy)
        same(found.levels, expected.levels)
        same(found.madds, expected.madds)
        close(found.logits, expected.logits)


def test_config_and_zoo(model, x, every, tmp_path):
    config = json.loads(json.dumps(model.get_config()))
    twin = type(model).from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config and twin.levels == model.levels
    zoo.save(model, tmp_path / "preset", {"levels": []}, "card")
    loaded = zoo.load(str(tmp_path / "preset"))
    assert type(loaded) is type(model)
    for level, expected in enumerate(every):
        close(loaded(x, level=level), expected, tolerance=1e-6)


@only("resnet_bottleneck", "vit_patches")
def test_another_number_of_classes(model, x, tmp_path):
    zoo.save(model, tmp_path / "preset", {"levels": []}, "card")
    head = zoo.load(str(tmp_path / "preset"), num_classes=5)
    assert head(x, level=1).shape == (12, 5)


class _Active(Shapes):
    """Which entries of every trainable weight a level uses."""

    def __init__(self, level):
        super().__init__(level)
        self.masks = {}

    def visit(self, layer, shape):
        if not hasattr(layer, "weight_slices"):
            return
        for name, sizes in layer.weight_slices(shape, self.level):
            weight = getattr(layer, name)
            mask = np.zeros(weight.shape, bool)
            starts = [
                (full - size) // 2 if len(sizes) == 4 and axis < 2 else 0
                for axis, (full, size) in enumerate(zip(weight.shape, sizes, strict=True))
            ]
            mask[tuple(slice(a, a + size) for a, size in zip(starts, sizes, strict=True))] = True
            self.masks[weight.path] = mask


@only("vit_stem")
@pytest.mark.parametrize("level", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_one_level_moves_its_slice_only(make, level):
    model = make()
    x = images(24, model.image_shape[0])
    visitor = _Active(level)
    model.logits(visitor, model.input_shape)
    before = snapshot(model)
    trainer = SupernetTrainer(model, levels=[level], weight_decay=1e-2)
    trainer.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    trainer.train_on_batch(x[:8], Y[:8])
    after = snapshot(model)
    for variable in model.supernet_variables:
        mask = visitor.masks.get(variable.path, np.zeros(variable.shape, bool))  # absent: the level lacks the block
        same(after[variable.path][~mask], before[variable.path][~mask])
        if mask.any():
            assert np.mean(after[variable.path][mask] != before[variable.path][mask]) > 0.5, variable.path
    assert any(not mask.all() for mask in visitor.masks.values())


@pytest.mark.parametrize("eager", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["eager", "traced"])
@only("vit_stem")
def test_both_stages_by_fit(request, make, eager):
    """Traced as users run it, in tests/training for MobileNets; here with the slow tests."""
    objective = OBJECTIVES[request.node.callspec.params["make"]]
    model = make()
    size, views = model.image_shape[0], 2 if objective == "mvco" else 1
    source = data.Source.from_arrays(images(24, size).astype("uint8"), Y, ["a", "b", "c"])
    held_out = data.evaluation_batches(source, 24)
    before = snapshot(model)
    stage1 = SupernetTrainer(model, num_random=1, objective=objective)
    stage1.compile(keras.optimizers.SGD(0.05, momentum=0.9), run_eagerly=eager)
    stage1.fit(data.batches(source, 8, seed=0, views=views, end_step=1), validation_data=held_out, verbose=0)
    gate = {variable.path for variable in model.gate_variables} | {"gate_shift", "cascade_thresholds"}
    for path, value in snapshot(model).items():
        if path.endswith("project_norm/beta"):
            continue  # a linear bottleneck's shift, which the next BatchNorm takes away again: no gradient
        if path.rsplit("/", 1)[-1] not in ("gate_shift", "cascade_thresholds"):
            assert (path in gate) == np.array_equal(value, before[path]), path
    calibrate_batch_norm(model, data.batches(source, 12, seed=0, end_step=2))
    before = snapshot(model)
    stage2 = GateTrainer(model, target=None)
    stage2.compile(keras.optimizers.Adam(0.01), run_eagerly=eager)
    history = stage2.fit(data.batches(source, 8, seed=0, end_step=1), validation_data=held_out, verbose=0).history
    assert {"val_level2_accuracy", "val_routed_madds"} <= set(history)
    moved = {path for path, value in snapshot(model).items() if not np.array_equal(value, before[path])}
    assert moved == {variable.path for variable in model.gate_variables}


@only("vit_stem")
def test_calibration_measures_every_level(make):
    model = make()
    x = images(24, model.image_shape[0])
    assert calibrate_batch_norm(model, [x]) == 1
    for level in range(3):
        expected = model(x, level=level, training=True)
        close(model(x, level=level), expected, tolerance=0.2)


@only("vit_stem")
def test_mixed_bfloat16(make, model, x, every):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        twin = make()
    finally:
        keras.config.set_dtype_policy("float32")
    twin.set_weights(model.get_weights())
    assert twin.clone().dtype_policy.name == "mixed_bfloat16"
    plain = export.subnet(twin, 1)
    close(plain(x), every[1])
    assert {layer.dtype_policy.name for layer in plain.layers} == {"float32"}
    assert {weight.dtype for weight in twin.weights} == {"float32"}
    for level, expected in enumerate(every):
        logits = twin(x, level=level)
        assert logits.dtype == tf.float32
        assert np.abs(logits - expected).mean() < 0.1 * np.abs(expected).mean() + 0.02


def test_features(model, x):
    found = [model.features(x, level=level) for level in (0, 2)]
    assert list(found[0]) == sorted(found[0])
    for stride, value in found[0].items():
        assert value.shape[1:3] == (model.image_shape[0] // stride,) * 2
    last = [features[max(features)] for features in found]
    width = last[0].shape[-1]
    assert np.abs(last[0] - last[1][..., :width]).max() > 0.01


def test_the_full_level_counts_every_weight_but_the_gate(model):
    assert cost.params(model, 2) == sum(int(np.prod(v.shape)) for v in model.supernet_variables)


def test_the_start_is_the_same_at_every_level(model):
    assert len({(part.start, part.gate) for part in model.costs}) == 1
    assert [part.body for part in model.costs] == sorted({part.body for part in model.costs})
