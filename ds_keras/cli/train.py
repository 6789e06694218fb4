"""Runs an experiment, or goes on with it: both stages, thresholds, evaluation, preset.

Example:
    ds-keras train --config=zoo/ds_mobilenet_digits/experiment.py --workdir=runs/digits
"""

import dataclasses

from ds_keras.cli.flags import Flags

VERBOSE = True  # log lines, not only warnings
FLAGS = Flags()
FLAGS.string("config", None, "Python file that defines EXPERIMENT.", required=True)
FLAGS.string("workdir", None, "Directory of this run: checkpoints, logs, result.", required=True)
FLAGS.string("data", None, "Where the data lies, instead of the config's own (see ds_keras.data.load).")
FLAGS.integer("seed", None, "Seed, instead of the config's own.")
FLAGS.integer("checkpoint_every", 500, "Steps between checkpoints.", lower_bound=1)
FLAGS.integer("max_steps", None, "Stop each stage after so many steps.", lower_bound=1)
FLAGS.switch("dry_run", False, "Two steps of each stage, to see that all fits.")


def main(command: str) -> None:
    """Reads the flags and runs."""
    from ds_keras.experiments import read_experiment
    from ds_keras.experiments.runner import run

    experiment = read_experiment(FLAGS.config)
    changes = {name: FLAGS[name].value for name in ("data", "seed") if FLAGS[name].value is not None}
    experiment = dataclasses.replace(experiment, **changes)
    max_steps = 2 if FLAGS.dry_run else FLAGS.max_steps
    metrics = run(experiment, FLAGS.workdir, command, FLAGS.checkpoint_every, max_steps)
    for row in (*metrics.get("levels", ()), *metrics.get("policies", ()), *metrics.get("runs", ())):
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"preset: {FLAGS.workdir}/preset")
