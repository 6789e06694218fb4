"""Writes the report of a preset or of a run: one HTML file, readable on a phone, without network access.

Accuracy against multiply-adds (and, with --bundle, milliseconds) for every policy, level mix, budgets, calibration,
classes, and with --workdir the training curves. Of a detector: average precision and cost of every level, and with
--images pictures with its boxes.

Example:
    ds-keras report --preset=ds_mobilenet_digits --data=digits --output=report.html
    ds-keras report --workdir=runs/digits --data=digits --images --output=report.html
    ds-keras report --workdir=runs/things --data=voc:FOLDER --images --output=report.html
"""

from pathlib import Path

from absl import logging

from ds_keras.cli.flags import Flags
from ds_keras.cli.inputs import forecast, open_data
from ds_keras.core.timing import about

DRAWING = 5  # seconds
FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory; or give --workdir.")
FLAGS.string("workdir", None, "Directory of a run of train or train_detector: its preset, and the training curves.")
FLAGS.string("data", None, "Data set (see ds_keras.data.load; of a detector as of train_detector).", required=True)
FLAGS.string("split", "test", "Part of the data set: train, test, or a further one that it has.")
FLAGS.switch("by_position", False, "Compare classes by position where --data names them in another way.")
FLAGS.existing("bundle", None, "Bundle of the model, to measure milliseconds with.")
FLAGS.existing("device", None, "Figures that a page of ds-keras web saved: the milliseconds of that device.")
FLAGS.switch("images", False, "Show images: pass the page on only where the data's terms allow it.")
FLAGS.integer("rounds", 10, "Timings of each part of the bundle.", lower_bound=3)
FLAGS.destination("output", "report.html", "File to write.", file=True)


def main(command: str) -> None:
    """Reads the flags, measures, writes the page."""
    if (FLAGS.preset is None) == (FLAGS.workdir is None):
        raise ValueError("give exactly one of --preset and --workdir")
    from ds_keras import zoo
    from ds_keras.report import write_report

    preset = FLAGS.preset or str(Path(FLAGS.workdir) / "preset")
    if zoo.kind(preset) in zoo.TASKS:
        from ds_keras.cli.detection import report as detector

        path = detector.write(FLAGS, preset, command)
        print(f"{path}  {path.stat().st_size} bytes")
        return
    model = zoo.load(preset)
    source = open_data(model, preset, FLAGS.data, FLAGS.split, FLAGS.by_position)
    logging.info("measuring %d images, drawing: %s", len(source), about(forecast(model, len(source)) + DRAWING))
    path = write_report(
        FLAGS.output,
        model,
        source,
        zoo.card(preset),
        log=FLAGS.workdir and Path(FLAGS.workdir) / "metrics.jsonl",
        bundle=FLAGS.bundle,
        pictures=FLAGS.images,
        command=command,
        rounds=FLAGS.rounds,
        device=FLAGS.device,
    )
    print(f"{path}  {path.stat().st_size} bytes")
