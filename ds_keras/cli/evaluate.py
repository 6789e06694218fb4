"""Accuracy and cost of every level and every policy of a preset, on the test part of a data set.

With --policies=all: every policy over its whole range of cost, from one pass over the images. Of an LC-ResNet: what it
spends and scores, beside runs that do not look at the image. Of a detector: average precision of every level.

Example:
    ds-keras evaluate --preset=ds_mobilenet_digits --data=digits --json=digits.json
    ds-keras evaluate --preset=ds_mobilenet_digits --data=digits --policies=all --plot=policies.png
    ds-keras evaluate --preset=ds_mobilenet_digits --data=digits --bundle=zoo/ds_mobilenet_digits/model.dsbundle
    ds-keras evaluate --preset=runs/photos/preset --data=folder:photos --image_size=160
    ds-keras evaluate --preset=runs/cells/preset --data=pack:cells.npz
"""

from typing import Any

from absl import logging

from ds_keras.cli.flags import Flags
from ds_keras.cli.inputs import forecast, open_data
from ds_keras.core.timing import about

FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory.", required=True)
FLAGS.string("data", None, "Data set (see ds_keras.data.load; of a detector as of train_detector).", required=True)
FLAGS.string("split", "test", "Part of the data set: train, test, or a further one that it has.")
FLAGS.switch("by_position", False, "Compare classes by position where --data names them in another way.")
FLAGS.integer(
    "image_size", None, "Height and width of the images, instead of the preset's.", lower_bound=1, upper_bound=1024
)
FLAGS.integer("batch_size", 256, "Images at a time.", lower_bound=1)
FLAGS.choice("policies", "default", ["default", "all"], "all: compare the policies at equal cost too.")
FLAGS.destination("plot", None, "With --policies=all: draw accuracy against MAdds into this PNG.", file=True)
FLAGS.existing("bundle", None, "Run this bundle of the preset too, and compare it with Keras image by image.")
FLAGS.destination("json", None, "Write the figures to this file too.", file=True)


def main(_: str) -> None:
    """Reads the flags, evaluates, prints the tables."""
    if FLAGS.plot and FLAGS.policies != "all":
        raise ValueError(f"--plot needs --policies=all, received --policies={FLAGS.policies}")
    if FLAGS.policies == "all" and FLAGS.image_size is not None:
        raise ValueError("--policies=all goes without --image_size: the budget table is of the preset's own size")
    from rich.console import Console

    from ds_keras import evaluation, zoo
    from ds_keras.core.files import write_bytes, write_json
    from ds_keras.evaluation import parity
    from ds_keras.routing import replay as curves
    from ds_keras.runtime import Session

    if zoo.kind(FLAGS.preset) in zoo.TASKS:
        from ds_keras.cli.detection import evaluate as detector

        for title, rows in detector.tables(FLAGS).items():
            _print(Console(markup=False), title, rows)
        return
    model = zoo.load(FLAGS.preset, image_size=FLAGS.image_size)
    source = open_data(model, FLAGS.preset, FLAGS.data, FLAGS.split, FLAGS.by_position)
    console = Console(markup=False)
    images, labels = source.images(model.image_shape[:2]), source.labels
    if (FLAGS.bundle or FLAGS.policies == "all") and not hasattr(model, "levels"):
        raise ValueError(f"--bundle and --policies=all need a network with levels, received --preset={FLAGS.preset}")
    session = Session(FLAGS.bundle) if FLAGS.bundle else None
    if session is not None:  # before the work
        parity.check_bundle(model, session)
    logging.info("evaluating %d images: %s", len(source), about(forecast(model, len(source))))
    card = zoo.card(FLAGS.preset)
    figures, tables = evaluation.evaluate_preset(model, images, labels, card, FLAGS.batch_size)
    if session is not None:
        logging.info("comparing with the bundle: about as long")
        compared = {"bundle": parity.compare(model, session, images, labels)}
        figures, tables = {**figures, **compared}, {**tables, **compared}
    for title, rows in tables.items():
        _print(console, f"{model.name}, {title} ({len(source)} images)", rows)
    if FLAGS.policies == "all":
        logging.info("every policy at every cost: about as long")
        predictions = curves.score(model, images, labels, FLAGS.batch_size)
        figures |= evaluation.compare(model, predictions, card.get("temperatures"))
        _print_comparison(console, model.name, figures)
        if FLAGS.plot:
            from ds_keras.report import policies_png

            write_bytes(FLAGS.plot, policies_png(model, predictions, figures["temperatures"]))
    if FLAGS.json:
        known = {"preset": FLAGS.preset, "data": FLAGS.data, "split": FLAGS.split, "image_shape": model.image_shape}
        write_json(FLAGS.json, {**known, **figures})


def _print(console: Any, title: str, rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))  # 80 columns hold every row
    for name in rows[0]:
        table.add_column(name, justify="right", overflow="fold")  # no digit is cut off
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)


def _print_comparison(console: Any, name: str, figures: dict[str, Any]) -> None:
    """All policies at equal cost; budgets asked and spent."""
    found, budgets = figures["equal_cost"], figures["budgets"]
    rows = []
    for row in found["rows"]:
        at = {f"{share} %": top1 for share, top1 in zip(found["shares"], row["top1"], strict=True)}
        saved = {f"-{drop}": value for drop, value in zip(found["drops"], row["saved"], strict=True)}
        rows.append({"policy": row["policy"], **at, **saved})
    _print(
        console,
        f"{name}, top-1 % at a share of the largest level's MAdds; times fewer MAdds at a loss",
        rows,
    )
    console.print(f"oracle: {found['oracle']['top1']} % at {found['oracle']['share']} %")
    _print(
        console, f"{name}, budgets of policy {budgets['policy']!r} (% of the largest level's MAdds)", budgets["rows"]
    )
