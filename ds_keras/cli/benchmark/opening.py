"""Measures what it takes to open a bundle: milliseconds for the session and each file, and memory.

Example:
    ds-keras benchmark opening --bundle=model.dsbundle
"""

from ds_keras.cli.benchmark import common
from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.existing("bundle", None, "Bundle to open.", required=True)
common.timing_flags(FLAGS, rounds=False)


def main(_: str) -> None:
    """Opens the bundle, and its files."""
    from ds_keras.benchmarks import opening

    rows = opening.load(FLAGS.bundle, FLAGS.threads) + opening.memory(FLAGS.bundle, FLAGS.threads)
    common.show(FLAGS, rows, FLAGS.bundle)
