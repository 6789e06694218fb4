import json
import os
from pathlib import Path

import pytest
from helpers import array, nano, same

from ds_keras import zoo


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_round_trip(network, preset, x):
    model = zoo.load(preset)
    assert model is not network and type(model) is type(network)
    assert [w.path for w in model.weights] == [w.path for w in network.weights]
    for weight, value in zip(model.weights, network.weights, strict=True):
        same(weight, value)
    assert model.get_config() == network.get_config()
    assert array(model.gate_shift) == [0.25] and list(array(model.cascade_thresholds)) == [0.625, 0]
    assert (model.default_policy, model.cascade, model.labels) == ("cascade", (0, 1), ["a", "b", "c"])
    assert model.budget_table == network.budget_table
    for policy in ("gate", "cascade"):
        for a, b in zip(model.predict_routed(x, policy=policy), network.predict_routed(x, policy=policy), strict=True):
            same(a, b)


@pytest.mark.parametrize("policy", ["gate", 2])
def test_default_policy_and_normalisation(tmp_path, policy, x):
    model = nano(default_policy=policy, mean=[100.0], std=[50.0], residual=True)
    twin = zoo.load(zoo.save(model, tmp_path / "deep" / "er"))
    assert (twin.default_policy, twin.mean, twin.std) == (policy, [100.0], [50.0])
    same(twin(x), model(x))


def test_the_files(network, preset):
    assert {str(path) for path in contents(preset)} == {zoo.CONFIG, zoo.WEIGHTS, zoo.METRICS, zoo.CARD}
    record = json.loads((preset / zoo.CONFIG).read_text())
    assert (record["format_version"], record["class"]) == (zoo.FORMAT_VERSION, "DSMobileNet")
    assert {**record["config"], "dtype": "float32"} == json.loads(json.dumps(network.get_config()))
    assert record["sha256"] == {zoo.WEIGHTS: zoo.sha256(preset / zoo.WEIGHTS)}
    assert (preset / zoo.CARD).read_text() == "# card\n"


def test_over_an_existing_preset_other_files_stay(preset, x):
    (preset / "notes.txt").write_text("keep")
    (preset / "bundle").mkdir()
    (preset / "bundle/a").write_text("keep too")
    old = contents(preset)
    model = nano(num_classes=4)
    assert zoo.save(model, str(preset)) == preset
    new = contents(preset)
    assert set(new) == set(old)
    assert {str(path) for path in new if new[path] != old[path]} == {zoo.CONFIG, zoo.WEIGHTS}
    same(zoo.load(preset)(x, level=0), model(x, level=0))


def boom(*_, **__):
    raise RuntimeError("power cut")


@pytest.mark.parametrize("half", [False, True])
def test_a_save_that_dies_in_the_weights(network, preset, monkeypatch, half):
    old, model = contents(preset), nano(num_classes=4)

    def dies(path, *_, **__):
        if half:
            Path(path).write_bytes(b"half a file")
        boom()

    monkeypatch.setattr(model, "save_weights", dies)
    with pytest.raises(RuntimeError, match="power cut"):
        zoo.save(model, preset)
    assert contents(preset) == old
    same(zoo.load(preset).classifier.kernel, network.classifier.kernel)


def test_a_save_that_dies_in_the_config(network, preset, monkeypatch):
    """The new weights are not where the old ones are: the preset is the old one."""
    old = contents(preset)
    with monkeypatch.context() as patch:
        patch.setattr(zoo, "write_json", boom)
        with pytest.raises(RuntimeError, match="power cut"):
            zoo.save(nano(num_classes=4), preset)
    left = contents(preset)
    assert left.pop(Path(zoo.NEXT)) and left == old
    same(zoo.load(preset).classifier.kernel, network.classifier.kernel)
    zoo.save(network, preset)
    assert contents(preset).keys() == old.keys()


def test_a_save_that_dies_behind_the_config(preset, monkeypatch):
    """The config means the new weights, which lie beside the old ones: the preset is the new one, and stays it."""
    model, old = nano(num_classes=4), contents(preset)
    with monkeypatch.context() as patch:
        patch.setattr(zoo.os, "replace", dies_moving(preset / zoo.NEXT))
        with pytest.raises(RuntimeError, match="power cut"):
            zoo.save(model, preset)
    assert contents(preset)[Path(zoo.WEIGHTS)] == old[Path(zoo.WEIGHTS)]
    same(zoo.load(preset).classifier.kernel, model.classifier.kernel)
    with monkeypatch.context() as patch:  # another one dies before its config: what the first one wrote is kept
        patch.setattr(zoo, "write_json", boom)
        with pytest.raises(RuntimeError, match="power cut"):
            zoo.save(nano(num_classes=5), preset)
    same(zoo.load(preset).classifier.kernel, model.classifier.kernel)


def dies_moving(path):
    """``os.replace`` of every file but one."""
    move = os.replace
    return lambda source, target: boom() if Path(source) == path else move(source, target)


def test_a_save_sweeps_what_killed_ones_left(network, preset):
    left = preset / ".writing-killed"
    left.mkdir()
    (left / "next.weights.h5").write_bytes(b"half")
    (preset / ".writing-young").mkdir()
    os.utime(left, (0, 0))
    zoo.save(network, preset)
    assert not left.exists() and (preset / ".writing-young").exists()


@pytest.mark.parametrize("what", ["labels", "metrics"])
def test_a_save_of_what_is_not_json(network, preset, what):
    """The old preset stays whole: nothing is moved into place before all of it could be written."""
    old, model = contents(preset), nano(num_classes=4)
    metrics = {"top1": object()} if what == "metrics" else {}
    if what == "labels":
        model.labels = [b"a", b"b", b"c", b"d"]
    with pytest.raises(TypeError, match="not JSON serializable"):
        zoo.save(model, preset, metrics)
    assert contents(preset) == old
    same(zoo.load(preset).classifier.kernel, network.classifier.kernel)
