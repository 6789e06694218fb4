"""Compares variants of training from the same seeds; goes on where it was stopped.

With --policies Stage II runs too, and gate and cascade are compared over their whole curves, cross-fitted: on each half
of the images with what was chosen on the other half.

Example:
    ds-keras ablate --config=zoo/ds_mobilenet_digits/experiment.py --workdir=runs/ablation \
        --variant='{"objective": "ib"}' --variant='{"objective": "inplace"}' --variant='{"objective": "ce"}'
"""

import dataclasses
import json
import re

from ds_keras.cli.flags import Flags
from ds_keras.core.files import parse_json

COLUMNS = ("mean", "sd", "difference", "difference_sd")
VARIANT = (
    'Arguments of SupernetTrainer as a JSON object; repeat it. Besides: "stage2", arguments of GateTrainer '
    'and of TrainingStage, or null, "model", entries of the network\'s config, "order_images", and "name".'
)
FLAGS = Flags()
FLAGS.string("config", None, "Python file that defines EXPERIMENT.", required=True)
FLAGS.destination("workdir", None, "Directory of the runs and of ablation.json.", required=True)
FLAGS.repeated("variant", VARIANT, required=True)
FLAGS.words("seeds", ["0", "1", "2"], "Seeds.")
FLAGS.switch("policies", False, "Run Stage II, and compare gate and cascade.")
FLAGS.string("data", None, "Where the data lies, instead of the config's own (see ds_keras.data.load).")
FLAGS.integer("epochs", None, "Epochs of Stage I, in one cycle, instead of the config's own.", lower_bound=1)
FLAGS.integer("held_out", None, "Hold out so many images, instead of the config's own.", lower_bound=2)
FLAGS.integer("train_images", None, "Train on so many images only.", lower_bound=1)
FLAGS.string("split", "held_out", "Images to score on: held_out, or a part of the data, such as test.")
FLAGS.integer("max_steps", None, "Stop each run after so many steps.", lower_bound=1)


def main(command: str) -> None:
    """Reads the flags, runs, prints the table."""
    from rich.console import Console
    from rich.table import Table

    from ds_keras.experiments import read_experiment
    from ds_keras.experiments.ablation import ablate
    from ds_keras.zoo.cards import HEADER, policy_cells

    experiment = read_experiment(FLAGS.config)
    changes = {
        name: FLAGS[name].value for name in ("data", "held_out", "train_images") if FLAGS[name].value is not None
    }
    if FLAGS.epochs is not None:
        changes["stage1"] = dataclasses.replace(experiment.stage1, epochs=FLAGS.epochs, cycles=1)
    named = [_variant(text) for text in FLAGS.variant]
    variants = dict(named)
    if len(variants) < len(named):
        raise ValueError(f"variants must have different names, received {[name for name, _ in named]}")
    if not all(seed.isdecimal() and len(seed) < 10 for seed in FLAGS.seeds):
        raise ValueError(f"--seeds must be integers in [0, 10**9), received {FLAGS.seeds}")
    seeds = [int(seed) for seed in FLAGS.seeds]
    experiment = dataclasses.replace(experiment, **changes)
    result = ablate(
        experiment, FLAGS.workdir, variants, seeds, FLAGS.max_steps, FLAGS.split, command, policies=FLAGS.policies
    )
    table = Table("variant", "level", "top-1 %", "sd", "difference", "sd", title=f"{FLAGS.split}, seeds {seeds}")
    for row in result["rows"]:
        values = (row[key] for key in COLUMNS)
        table.add_row(row["variant"], str(row["level"]), *("" if v is None else f"{v:.2f}" for v in values))
    Console(markup=False).print(table)
    if FLAGS.policies:
        table = Table(*HEADER, title="policies, cross-fitted")
        for cells in policy_cells(result["policies"]):
            table.add_row(*cells)
        Console(markup=False).print(table)


def _variant(text: str) -> tuple[str, dict]:
    try:
        arguments = parse_json(text.encode())
    except ValueError as error:
        raise ValueError(f"variant must be a JSON object, received {text!r:.200} ({error})") from None
    if not isinstance(arguments, dict):
        raise ValueError(f"variant must be a JSON object, received {text!r:.200}")
    name = arguments.pop("name", "")
    if not isinstance(name, str):
        raise ValueError(f"variant must have a string as its name, received {name!r:.200}")
    name = name or "_".join(f"{key}={json.dumps(value)}" for key, value in arguments.items())
    return re.sub(r"[^\w=.+-]", "", name.replace(",", "+")) or "as_is", arguments
