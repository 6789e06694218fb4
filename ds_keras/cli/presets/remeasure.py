"""Chooses a trained preset's cascade, thresholds and default policy anew, evaluates it, and writes its card and bundle.

With --nochoose only the comparison of the policies, its plot and the card are made anew.

Example:
    ds-keras remeasure --config=zoo/ds_mobilenet_digits/experiment.py --preset=zoo/ds_mobilenet_digits
"""

import dataclasses

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("config", None, "Python file that defines the preset's EXPERIMENT.", required=True)
FLAGS.string("preset", None, "Directory of the preset.", required=True)
FLAGS.string("data", None, "Where the data lies, instead of the config's own (see ds_keras.data.load).")
FLAGS.switch("choose", True, "Choose anew; --nochoose keeps the policy, the weights and the bundle.")


def main(_: str) -> None:
    """Reads the flags, measures, prints the policies."""
    from ds_keras.experiments import read_experiment
    from ds_keras.experiments.runner import remeasure

    experiment = read_experiment(FLAGS.config)
    if FLAGS.data:
        experiment = dataclasses.replace(experiment, data=FLAGS.data)
    metrics = remeasure(experiment, FLAGS.preset, FLAGS.choose)
    for row in (*metrics["levels"], *metrics["policies"]):
        print("  ".join(f"{key} {value}" for key, value in row.items()))
