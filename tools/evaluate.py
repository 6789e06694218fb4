"""Accuracy and cost of every level and every policy of a preset, on the test part of a data set.

With --policies=all: every policy over its whole range of cost, from one pass over the images. Of an LC-ResNet: what it
spends and scores, beside runs that do not look at the image.

Example:
    python tools/evaluate.py --preset=ds_mobilenet_digits --data=digits --json=digits.json
    python tools/evaluate.py --preset=ds_mobilenet_digits --data=digits --policies=all --plot=policies.png
    python tools/evaluate.py --preset=ds_mobilenet_digits --data=digits --bundle=zoo/ds_mobilenet_digits/model.dsbundle
"""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cli
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("preset", None, "Preset, alias or directory.", required=True)
flags.DEFINE_string("data", None, "Data set (see ds_keras.data.load).", required=True)
flags.DEFINE_string("split", "test", "Part of the data set: train, test, or a further one that it has.")
flags.DEFINE_integer("batch_size", 256, "Images at a time.", lower_bound=1)
flags.DEFINE_enum("policies", "default", ["default", "all"], "all: compare the policies at equal cost too.")
flags.DEFINE_string("plot", None, "With --policies=all: draw accuracy against MAdds into this PNG.")
flags.DEFINE_string("bundle", None, "Run this bundle of the preset too, and compare it with Keras image by image.")
flags.DEFINE_string("json", None, "Write the figures to this file too.")


def main(_: list[str]) -> None:
    """Reads the flags, evaluates, prints the tables."""
    if FLAGS.plot and FLAGS.policies != "all":
        raise ValueError(f"--plot needs --policies=all, received --policies={FLAGS.policies}")
    from rich.console import Console

    from ds_keras import evaluation, zoo
    from ds_keras.core.files import write_bytes, write_json
    from ds_keras.evaluation import parity
    from ds_keras.lcnet import evaluation as evaluation_lc
    from ds_keras.models import LCResNet
    from ds_keras.routing import replay as curves
    from ds_keras.runtime import Session

    model = zoo.load(FLAGS.preset)
    source = cli.open_data(model, FLAGS.preset, FLAGS.data, FLAGS.split)
    console = Console()
    images, labels = source.images(model.image_shape[:2]), source.labels
    skips = isinstance(model, LCResNet)
    if skips and (FLAGS.bundle or FLAGS.policies == "all"):
        raise ValueError(f"--bundle and --policies=all need a network with levels, received --preset={FLAGS.preset}")
    with console.status(f"evaluating {len(source)} images"):
        if skips:
            fixed = zoo.card(FLAGS.preset).get("fixed")
            figures = evaluation_lc.evaluate_lc(model, images, labels, fixed, FLAGS.batch_size)
        else:
            figures = evaluation.evaluate(model, images, labels, FLAGS.batch_size)
        if FLAGS.bundle:
            figures["bundle"] = parity.compare(model, Session(FLAGS.bundle), images, labels)
    for title, rows in figures.items():
        if title == "spread":
            shares = zip(evaluation_lc.SHARES, rows, strict=True)
            console.print("share of the MAdds at percentiles of the images:", *(f"{at}: {x}" for at, x in shares))
            continue
        _print(console, f"{model.name}, {title} ({len(source)} images)", rows)
    if FLAGS.policies == "all":
        with console.status("every policy at every cost"):
            predictions = curves.score(model, images, labels, FLAGS.batch_size)
            figures |= evaluation.compare(model, predictions, zoo.card(FLAGS.preset).get("temperatures"))
        _print_comparison(console, model.name, figures)
        if FLAGS.plot:
            from ds_keras.report import policies_png

            write_bytes(FLAGS.plot, policies_png(model, predictions, figures["temperatures"]))
    if FLAGS.json:
        write_json(FLAGS.json, {"preset": FLAGS.preset, "data": FLAGS.data, "split": FLAGS.split, **figures})


def _print(console: Any, title: str, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)


def _print_comparison(console: Any, name: str, figures: dict[str, Any]) -> None:
    """All policies at equal cost; budgets asked and spent."""
    found, budgets = figures["equal_cost"], figures["budgets"]
    rows = []
    for row in found["rows"]:
        at = {f"at {share} %": top1 for share, top1 in zip(found["shares"], row["top1"], strict=True)}
        saved = {f"-{drop}: x fewer": value for drop, value in zip(found["drops"], row["saved"], strict=True)}
        rows.append({"policy": row["policy"], **at, **saved})
    _print(console, f"{name}, top-1 % at equal MAdds (% of the largest level's)", rows)
    console.print(f"oracle: {found['oracle']['top1']} % at {found['oracle']['share']} %")
    _print(
        console, f"{name}, budgets of policy {budgets['policy']!r} (% of the largest level's MAdds)", budgets["rows"]
    )


if __name__ == "__main__":
    cli.run(main)
