"""Runs an experiment, or tunes a preset to your photos within some minutes, or goes on with either.

With --start no config is needed: the recipe follows from the number of photos and the speed of this machine, and the
plan is printed first. A run from scratch needs a --config, and says after the first steps how long it will take.
--checkpoint_every, --max_steps, --strategy and --dry_run go with --config only, --minutes with --start only.

Example:
    ds-keras train --config=zoo/ds_mobilenet_digits/experiment.py --workdir=runs/digits
    ds-keras train --data=folder:photos --start=ds_mobilenet_mini_imagenet --minutes=15
"""

import dataclasses
from pathlib import Path
from typing import Any

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("config", None, "Python file that defines EXPERIMENT; or give --start.")
FLAGS.string("start", None, "Preset, alias or directory that is tuned to --data.")
FLAGS.number("minutes", None, "Time of a run with --start, for everything; 15 where it is left out.")
FLAGS.destination(
    "workdir",
    None,
    "Directory of this run: checkpoints, logs, result. Required with --config; default with --start: "
    "runs/<folder of photos>.",
)
FLAGS.string(
    "data",
    None,
    "With --start, the photos, such as folder:photos. With --config, where the data lies, instead of the config's own "
    "(see ds_keras.data.load).",
)
FLAGS.integer(
    "seed", None, "Seed, instead of the config's own; default with --start: 0.", lower_bound=0, upper_bound=2**32 - 1
)
FLAGS.integer("checkpoint_every", 500, "Steps between checkpoints.", lower_bound=1)
FLAGS.integer("max_steps", None, "Stop each stage after so many steps.", lower_bound=1)
FLAGS.choice(
    "strategy",
    "one_device",
    ("one_device", "mirrored", "multi_worker"),
    "one_device; mirrored: all devices of this machine; multi_worker: the workers that TF_CONFIG lists, each of which "
    "runs this command.",
)
FLAGS.switch("dry_run", False, "Two steps of each stage, to see that all fits.")

ONLY_CONFIG = ("checkpoint_every", "max_steps", "strategy", "dry_run")


def main(command: str) -> None:
    """Reads the flags and runs."""
    if (FLAGS.config is None) == (FLAGS.start is None):
        raise ValueError(f"give exactly one of --config and --start, received {FLAGS.config!r} and {FLAGS.start!r}")
    _refuse("--config" if FLAGS.start is None else "--start", ("minutes",) if FLAGS.start is None else ONLY_CONFIG)
    metrics, workdir = _run(command) if FLAGS.start is None else _fine_tune(command)
    for row in (*metrics.get("levels", ()), *metrics.get("policies", ()), *metrics.get("runs", ())):
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    for file in ("preset", "preset/model.dsbundle", "report.html") if FLAGS.start else ("preset",):
        if (Path(workdir) / file).exists():
            print(f"{Path(file).stem.replace('model', 'bundle')}: {workdir}/{file}")


def _refuse(given: str, names: tuple[str, ...]) -> None:
    """Refuses flags that do not go with another."""
    for name in names:
        if FLAGS[name].present:
            raise ValueError(f"--{name} does not go with {given}, received {FLAGS[name].value!r}")


def _run(command: str) -> tuple[dict[str, Any], str]:
    """An experiment."""
    from ds_keras.training.distributed import make_strategy

    strategy = make_strategy(FLAGS.strategy)  # first of all: workers meet before TensorFlow runs anything else
    from ds_keras.experiments import read_experiment
    from ds_keras.experiments.runner import run

    experiment = read_experiment(FLAGS.config)
    if FLAGS.workdir is None:
        raise ValueError("--config needs --workdir")
    changes = {name: FLAGS[name].value for name in ("data", "seed") if FLAGS[name].value is not None}
    experiment = dataclasses.replace(experiment, **changes)
    max_steps = 2 if FLAGS.dry_run else FLAGS.max_steps
    return run(experiment, FLAGS.workdir, command, FLAGS.checkpoint_every, max_steps, strategy=strategy), FLAGS.workdir


def _fine_tune(command: str) -> tuple[dict[str, Any], str]:
    """A preset, tuned to photos."""
    if FLAGS.data is None:
        raise ValueError("--start needs --data: the photos, such as folder:photos")
    from ds_keras import training, zoo

    minutes = 15.0 if FLAGS.minutes is None else FLAGS.minutes
    if not minutes > 0:  # before photos are read
        raise ValueError(f"--minutes must be positive, received {minutes!r}")
    card = zoo.card(FLAGS.start)
    workdir = FLAGS.workdir or f"runs/{Path(FLAGS.data.partition(':')[2] or FLAGS.data).stem or 'photos'}"
    training.fine_tune(
        FLAGS.start,
        FLAGS.data,
        minutes,
        workdir,
        terms=f"{FLAGS.data}; starts from {FLAGS.start} ({card.get('data', 'its data is not stated')})",
        licence=f"of the start: {card.get('licence') or 'not stated'}",
        command=command,
        seed=FLAGS.seed or 0,
    )
    return zoo.card(f"{workdir}/preset"), workdir
