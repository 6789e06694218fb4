"""Writes the report of a preset or of a run: one HTML file, readable on a phone, without network access.

Accuracy against multiply-adds (and, with --bundle, milliseconds) for every policy, level mix, budgets, calibration,
classes, and with --workdir the training curves.

Example:
    python tools/report.py --preset=ds_mobilenet_digits --data=digits --output=report.html
    python tools/report.py --workdir=runs/digits --data=digits --images --output=report.html
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cli
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("preset", None, "Preset, alias or directory; or give --workdir.")
flags.DEFINE_string("workdir", None, "Directory of a run of tools/train.py: its preset, and the training curves.")
flags.DEFINE_string("data", None, "Data set (see ds_keras.data.load).", required=True)
flags.DEFINE_string("split", "test", "Part of the data set: train, test, or a further one that it has.")
flags.DEFINE_string("bundle", None, "Bundle of the model, to measure milliseconds with.")
flags.DEFINE_bool("images", False, "Show images: pass the page on only where the data's terms allow it.")
flags.DEFINE_integer("rounds", 10, "Timings of each part of the bundle.", lower_bound=3)
flags.DEFINE_string("output", "report.html", "File to write.")


def main(_: list[str]) -> None:
    """Reads the flags, measures, writes the page."""
    if (FLAGS.preset is None) == (FLAGS.workdir is None):
        raise ValueError("give exactly one of --preset and --workdir")
    from rich.console import Console

    from ds_keras import zoo
    from ds_keras.report import write_report

    preset = FLAGS.preset or str(Path(FLAGS.workdir) / "preset")
    model = zoo.load(preset)
    source = cli.open_data(model, preset, FLAGS.data, FLAGS.split)
    console = Console()
    with console.status(f"measuring {len(source)} images"):
        path = write_report(
            FLAGS.output,
            model,
            source,
            zoo.card(preset),
            log=FLAGS.workdir and Path(FLAGS.workdir) / "metrics.jsonl",
            bundle=FLAGS.bundle,
            pictures=FLAGS.images,
            command=cli.command(),
            rounds=FLAGS.rounds,
        )
    print(f"{path}  {path.stat().st_size} bytes")


if __name__ == "__main__":
    cli.run(main)
