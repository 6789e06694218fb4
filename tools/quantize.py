"""Writes a trained preset's int8 bundle, runs it on the test images, and puts its figures on the card.

Example:
    python tools/quantize.py --config=zoo/ds_mobilenet_digits/experiment.py --preset=zoo/ds_mobilenet_digits
"""

import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cli
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("config", None, "Python file that defines the preset's EXPERIMENT.", required=True)
flags.DEFINE_string("preset", None, "Directory of the preset.", required=True)
flags.DEFINE_string("data", None, "Where the data lies, instead of the config's own (see ds_keras.data.load).")


def main(_: list[str]) -> None:
    """Reads the flags, quantises, prints the levels."""
    from ds_keras.experiments import read_experiment
    from ds_keras.experiments.quantized import quantize_preset

    experiment = read_experiment(FLAGS.config)
    if FLAGS.data:
        experiment = dataclasses.replace(experiment, data=FLAGS.data)
    command = cli.command()
    for row in quantize_preset(experiment, FLAGS.preset, command)["rows"]:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    cli.run(main)
