"""What a training step may change: the active slice, and nothing else, bit for bit."""

import keras
import numpy as np
import pytest
from helpers import images, nano, same, snapshot

from ds_keras.training import GateTrainer, SupernetTrainer

X, Y = images(24), np.arange(24) % 3
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01),
}


def pairs(values, *fast):
    """Every optimizer with every value; those that are not ``fast`` run with the slow tests."""
    every = [(optimizer, value) for optimizer in OPTIMIZERS for value in values]
    return [pytest.param(*pair, marks=[] if pair in fast else pytest.mark.slow) for pair in every]


def train(trainer, optimizer, steps):
    trainer.compile(OPTIMIZERS[optimizer](), run_eagerly=True)
    for i in range(steps):
        picks = np.arange(8 * i, 8 * i + 8) % 24
        trainer.train_on_batch(X[picks], Y[picks])


def active(path, shape, level):
    """Which entries of a weight of ``nano`` belong to ``level``."""
    mask = np.zeros(shape, bool)
    name, weight = path.split("/")[-2:]
    stage, _, part = name.replace("_block1", "").partition("_")
    widths = [1, 4, 6, (4, 6, 8)[level], (4, 8, 12)[level]]
    if "slimming" in path or weight in ("gate_shift", "cascade_thresholds"):
        return mask
    if stage == "classifier":
        mask[: widths[-1] if weight == "kernel" else None] = True
        return mask
    index = ("stem", "stage1", "stage2", "stage3").index(stage)
    old, new = widths[index : index + 2]
    if weight == "kernel":
        cut = {"": (old, new), "pointwise": (old, new), "depthwise": (old, 1), "gate_reduce": (old, None)}
        mask[:, :, : cut.get(part, (None, old))[0], : cut.get(part, (None, old))[1]] = True
        return mask
    size = {"norm1": old, "gate_expand": old, "gate_reduce": None}.get(part, new)
    if weight.startswith("moving"):
        mask[level if shape[0] > 1 else 0, :size] = True
    else:
        mask[:size] = True
    return mask


@pytest.mark.parametrize(("optimizer", "level"), pairs([0, 1, 2], ("sgd", 0), ("adam", 1)))
def test_one_level_moves_its_slice_only(optimizer, level):
    model = nano()
    before = snapshot(model)
    train(SupernetTrainer(model, levels=[level], weight_decay=1e-2), optimizer, steps=2)
    changed = 0
    for path, after in snapshot(model).items():
        mask = active(path, after.shape, level)
        same(after[~mask], before[path][~mask])
        if "slimming" not in path and not path.endswith(("gate_shift", "cascade_thresholds")):
            assert np.mean(after[mask] != before[path][mask]) > 0.9, path
        changed += np.sum(after != before[path])
    assert changed


def test_a_step_moves_every_level_but_not_the_gate():
    model = nano(gate_hidden=4)
    before, logits = snapshot(model), [np.array(model(X, level=k)) for k in range(3)]
    train(SupernetTrainer(model, num_random=1), "sgd", steps=1)
    gate = {v.path for v in model.gate_variables}
    assert len(gate) == 4
    for path, after in snapshot(model).items():
        if path in gate or path.endswith(("gate_shift", "cascade_thresholds")):
            same(after, before[path])
        else:
            assert np.any(after != before[path]), path
    for level in range(3):
        assert np.abs(model(X, level=level) - logits[level]).max() > 1e-3


@pytest.mark.parametrize(("optimizer", "hidden"), pairs([0, 4], ("sgd", 0), ("adam", 4)))
def test_stage_two_moves_the_slimming_branch_only(optimizer, hidden):
    model = nano(gate_hidden=hidden)
    before = snapshot(model)
    train(GateTrainer(model, target=None), optimizer, steps=2)
    gate = {v.path for v in model.gate_variables}
    for path, after in snapshot(model).items():
        if path in gate:
            assert np.any(after != before[path]), path
        else:
            same(after, before[path])


def test_random_levels_come_from_the_trained_ones():
    model = nano()
    before = snapshot(model)
    train(SupernetTrainer(model, levels=[0, 1], num_random=2), "sgd", steps=1)
    for path, after in snapshot(model).items():
        outside = ~(active(path, after.shape, 0) | active(path, after.shape, 1))
        same(after[outside], before[path][outside])
