"""A worker: ``worker.py RESULT.npz WHAT``, TF_CONFIG as usual. WHAT: "gate" (Stage II), "all" (both, and calibration).

Without TF_CONFIG it does the same in one process, with the whole batch.
"""

import functools
import os
import sys

import keras
import numpy as np
import replicas

from ds_keras.data import batches, evaluation_batches
from ds_keras.training import GateTrainer, SupernetTrainer, calibrate_batch_norm
from ds_keras.training.distributed import fit, job, make_strategy
from ds_keras.training.distributed.workers import part_of, sum_over_workers

BATCH, STEPS = 12, 20


def main(path, what):
    """Trains, and writes the weights after each stage."""
    strategy = make_strategy("multi_worker" if "TF_CONFIG" in os.environ else "one_device")
    keras.utils.set_random_seed(0)
    with job(strategy):
        np.savez(path, **train(strategy, what))


def train(strategy, what):
    """The weights after each stage, and the metrics, by name."""
    source = replicas.source()
    stream = functools.partial(batches, source, BATCH, 0, "flip,erase:0.5")
    held_out = functools.partial(evaluation_batches, source, BATCH, None, None, 2)
    found = {}
    with strategy.scope():
        model = replicas.network()
        if what == "all":
            found |= supernet(strategy, model, stream)
        gate = GateTrainer(model, 1.0)
        gate.compile(keras.optimizers.Adam(3e-3))
        history = fit(gate, lambda context: stream(context=context), STEPS, held_out).history
        found["stage2"] = replicas.weights(model)
    arrays = {f"{name}/{k:03d}": array for name, arrays in found.items() for k, array in enumerate(arrays)}
    return arrays | {f"metrics/{name}": np.array(values) for name, values in history.items()}


def supernet(strategy, model, stream):
    """The weights after Stage I, and after the calibration, of which each worker does a part."""
    first = SupernetTrainer(model, num_random=1, label_smoothing=0.0)
    first.compile(keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, global_clipnorm=1.0))
    fit(first, lambda context: stream(context=context), STEPS)
    found = {"stage1": replicas.weights(model), "teacher": replicas.weights(first.teacher)}
    begin, end = part_of(strategy, 6)
    total = functools.partial(sum_over_workers, strategy)
    calibrate_batch_norm(model, stream(start_step=begin, end_step=end), total=total)
    return found | {"calibrated": replicas.weights(model)}


if __name__ == "__main__":
    main(*sys.argv[1:])
