"""Accuracy and cost of every level and every policy of a preset, on the test part of a data set.

Example:
    python tools/evaluate.py --preset=ds_mobilenet_digits --data=digits --json=digits.json
    python tools/evaluate.py --preset=ds_mobilenet_digits --data=digits --bundle=zoo/ds_mobilenet_digits/model.dsbundle
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cli
from absl import flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_string("preset", None, "Preset, alias or directory.", required=True)
flags.DEFINE_string("data", None, "Data set (see ds_keras.data.load).", required=True)
flags.DEFINE_string("split", "test", "Part of the data set: train, test, or a further one that it has.")
flags.DEFINE_integer("batch_size", 256, "Images at a time.", lower_bound=1)
flags.DEFINE_string("bundle", None, "Run this bundle of the preset too, and compare it with Keras image by image.")
flags.DEFINE_string("json", None, "Write the figures to this file too.")


def main(_: list[str]) -> None:
    """Reads the flags, evaluates, prints two tables."""
    from rich.console import Console
    from rich.table import Table

    from ds_keras import data, zoo
    from ds_keras.evaluation import evaluate
    from ds_keras.files import write_json
    from ds_keras.parity import compare
    from ds_keras.runtime import Session

    model = zoo.load(FLAGS.preset)
    sources = data.load(FLAGS.data)
    if FLAGS.split not in sources:
        raise ValueError(f"--split must be one of {sorted(sources)}, received {FLAGS.split!r}")
    source = sources[FLAGS.split]
    if len(source.class_names) != model.num_classes:
        raise ValueError(f"--data has {len(source.class_names)} classes, but {FLAGS.preset} has {model.num_classes}")
    channels = source.image_shape[2], model.image_shape[2]
    if channels[0] != channels[1]:
        raise ValueError(f"--data has images of {channels[0]} channels, but {FLAGS.preset} reads {channels[1]}")
    if model.labels and list(source.class_names) != list(model.labels):
        names = list(model.labels), list(source.class_names)
        logging.warning("classes are compared by position: the preset's are %s, those of --data %s", *names)
    console = Console()
    with console.status(f"evaluating {len(source)} images"):
        images = source.images(model.image_shape[:2])
        figures = evaluate(model, images, source.labels, FLAGS.batch_size)
        if FLAGS.bundle:
            figures["bundle"] = compare(model, Session(FLAGS.bundle), images, source.labels)
    for title, rows in figures.items():
        table = Table(title=f"{model.name}, {title} ({len(source)} images)")
        for name in rows[0]:
            table.add_column(name, justify="right")
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        console.print(table)
    if FLAGS.json:
        write_json(FLAGS.json, {"preset": FLAGS.preset, "data": FLAGS.data, "split": FLAGS.split, **figures})


if __name__ == "__main__":
    cli.run(main)
