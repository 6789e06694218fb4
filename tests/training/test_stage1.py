import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano, same, snapshot

from ds_keras.layers import SliceableBatchNormalization
from ds_keras.models.mobilenet import Stage
from ds_keras.training import SupernetTrainer, losses

COUNT = 24
X, Y = images(COUNT), np.arange(COUNT) % 3
WIDE = {
    "stem": (4, 6),
    "stages": (Stage(6, 1, teacher=8), Stage((4, 6, 8), 1, 2, gate=True), Stage((4, 8, 12), 1)),
}


def sgd(rate=0.05):
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


def adam():
    return keras.optimizers.Adam(0.01)


def trainer_for(model, optimizer=None, **kwargs):
    trainer = SupernetTrainer(model, **kwargs)
    trainer.compile(optimizer or sgd())
    return trainer


def train(trainer, steps, batch=8):
    for i in range(steps):
        picks = np.arange(i * batch, (i + 1) * batch) % COUNT
        trainer.train_on_batch(X[picks], Y[picks])
    return trainer


def sublayers(model):
    return [layer for layer in model._flatten_layers(include_self=False) if layer.weights and hasattr(layer, "divisor")]


def active(model, level):
    """For every weight of the supernet, by path, a mask of what ``level`` may change."""
    masks = {path: np.zeros(value.shape, bool) for path, value in snapshot(model).items()}
    plain = {}

    class Recorder:
        """Shapes at the level, from the sizes of every layer."""

    widths = {"stem": (1, 4), "stage1": (4, 6), "stage2": (6, (4, 6, 8)[level]), "stage3": ((4, 6, 8)[level], (4, 8, 12)[level])}
    del plain, Recorder
    for path, mask in masks.items():
        name, weight = path.split("/")[-2:]
        if "slimming" in path or weight in ("gate_shift", "cascade_threshold"):
            continue
        if name == "classifier":
            mask[(slice(widths["stage3"][1]),) if weight == "kernel" else ...] = True
            continue
        old, new = widths[name.split("_")[0]]
        outer = new if name in ("stem", "stem_norm") or name.endswith(("pointwise", "norm2")) else old
        if name.endswith("pointwise") or name == "stem":
            mask[:, :, :old, :new] = True
        elif name.endswith("depthwise"):
            mask[:, :, :old] = True
        elif name.endswith("reduce"):
            mask[(slice(None), slice(None), slice(old)) if weight == "kernel" else ...] = True
        elif name.endswith("expand"):
            mask[..., :old] = True
        elif weight in ("gamma", "beta"):
            mask[:outer] = True
        else:
            mask[level if mask.shape[0] > 1 else 0, :outer] = True
    return masks
