"""What many levels cost in Stage II: processor seconds to trace a step and a validation, their time and their memory.

Each figure is of a process of its own: tracing fills caches, and the peak of memory belongs to a process.

Example:
    python -m ds_keras.benchmarks.tracing --what=validation --levels=14
"""

import resource
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

from ds_keras.models import DSMobileNet
from ds_keras.training import GateTrainer

CHOSEN = {4: (0, 4, 9, 13), 14: tuple(range(14))}  # levels of the published network, so that all else is alike


def tracing(
    what: str = "validation", levels: int = 14, batch_size: int = 16, size: int = 128, runs: int = 5
) -> dict[str, Any]:
    """One figure of each kind.

    Args:
        what: "step" (of Stage II) or "validation".
        levels: 4 or 14.
        batch_size: images in a batch.
        size: of the images, in pixels.
        runs: batches whose time is averaged.

    Returns:
        "trace_s", processor seconds to trace; "run_ms", processor milliseconds of a batch; "peak_mb", by how much the
        peak of memory exceeds that before the first run.
    """
    model = DSMobileNet.imagenet(10, CHOSEN[levels], input_shape=(size, size, 3))
    trainer = GateTrainer(model)
    trainer.compile(keras.optimizers.SGD(0.01))
    rng = np.random.default_rng(0)
    x = tf.constant(rng.uniform(0, 255, (batch_size, size, size, 3)).astype("float32"))
    y = tf.constant(np.arange(batch_size) % 10, tf.int32)
    run = tf.function({"step": trainer.train_step, "validation": trainer.test_step}[what], autograph=False)
    began = time.process_time()
    run.get_concrete_function((x, y))
    traced = time.process_time() - began
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    run((x, y))  # the graph is optimised here
    first = time.process_time() - began
    began = time.process_time()
    for _ in range(runs):
        run((x, y))
    spent = (time.process_time() - began) / runs
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"trace_s": traced, "first_s": first, "run_ms": 1e3 * spent, "peak_mb": (peak - before) / 1024}


def main(_: Sequence[str]) -> None:
    """Prints the figures."""
    found = {
        "what": FLAGS.what,
        "levels": FLAGS.levels,
        **tracing(FLAGS.what, FLAGS.levels, FLAGS.batch_size, runs=FLAGS.runs),
    }
    print("{what}, {levels} levels: {trace_s:.1f} s to trace, {first_s:.1f} s the first run".format(**found), end=", ")
    print("{run_ms:.0f} ms a batch (processor time), {peak_mb:.0f} MB".format(**found))


if __name__ == "__main__":
    FLAGS = flags.FLAGS
    flags.DEFINE_enum("what", "validation", ["step", "validation"], "What is traced.")
    flags.DEFINE_integer("levels", 14, "4 or 14.")
    flags.DEFINE_integer("batch_size", 16, "Images in a batch.", lower_bound=1)
    flags.DEFINE_integer("runs", 5, "Batches whose time is averaged.", lower_bound=1)
    app.run(main)
