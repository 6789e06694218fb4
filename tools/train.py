"""Runs an experiment, or goes on with it: both stages, thresholds, evaluation, preset.

Example:
    python tools/train.py --config=zoo/ds_mobilenet_digits/experiment.py --workdir=runs/digits
"""

import dataclasses

import cli
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("config", None, "Python file that defines EXPERIMENT.", required=True)
flags.DEFINE_string("workdir", None, "Directory of this run: checkpoints, logs, result.", required=True)
flags.DEFINE_string("data", None, "Where the data lies, instead of the config's own (see ds_keras.data.load).")
flags.DEFINE_integer("seed", None, "Seed, instead of the config's own.")
flags.DEFINE_integer("checkpoint_every", 500, "Steps between checkpoints.", lower_bound=1)
flags.DEFINE_integer("max_steps", None, "Stop each stage after so many steps.", lower_bound=1)
flags.DEFINE_bool("dry_run", False, "Two steps of each stage, to see that all fits.")


def main(_: list[str]) -> None:
    """Reads the flags and runs."""
    from ds_keras.experiments import read_experiment
    from ds_keras.experiments.runner import run

    experiment = read_experiment(FLAGS.config)
    changes = {name: FLAGS[name].value for name in ("data", "seed") if FLAGS[name].value is not None}
    experiment = dataclasses.replace(experiment, **changes)
    command = cli.command()
    max_steps = 2 if FLAGS.dry_run else FLAGS.max_steps
    metrics = run(experiment, FLAGS.workdir, command, FLAGS.checkpoint_every, max_steps)
    for row in (*metrics.get("levels", ()), *metrics.get("policies", ()), *metrics.get("runs", ())):
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(f"preset: {FLAGS.workdir}/preset")


if __name__ == "__main__":
    cli.run(main, verbose=True)
