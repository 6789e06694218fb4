"""Chooses a trained preset's cascade, thresholds and default policy anew, evaluates it, and writes its card and bundle.

Example:
    python tools/remeasure.py --config=zoo/ds_mobilenet_digits/experiment.py --preset=zoo/ds_mobilenet_digits
"""

import dataclasses

import cli
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("config", None, "Python file that defines the preset's EXPERIMENT.", required=True)
flags.DEFINE_string("preset", None, "Directory of the preset.", required=True)
flags.DEFINE_string("data", None, "Where the data lies, instead of the config's own (see ds_keras.data.load).")


def main(_: list[str]) -> None:
    """Reads the flags, measures, prints the policies."""
    from ds_keras.training import read_experiment
    from ds_keras.training.runner import remeasure

    experiment = read_experiment(FLAGS.config)
    if FLAGS.data:
        experiment = dataclasses.replace(experiment, data=FLAGS.data)
    metrics = remeasure(experiment, FLAGS.preset)
    for row in (*metrics["levels"], *metrics["policies"]):
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    cli.run(main)
