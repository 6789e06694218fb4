"""Finds things on photos: class, score and box of each, and pictures with the boxes drawn.

Runs a bundle or the TFLite files of a detector in LiteRT, without TensorFlow; with --keras, and where there are none,
in Keras.

Example:
    ds-keras detect --model=ds_mobilenet_bccd_detector photo.jpg
    ds-keras detect --model=cells.dsbundle photo.jpg
    ds-keras detect --model=runs/cells --level=0 --output=drawn photos
    ds-keras detect --model=cells.dsbundle --milliseconds=20 photos
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.cli.flags import Flags
from ds_keras.cli.inputs import detector_place, photo_files
from ds_keras.cli.quiet import muted
from ds_keras.core.files import expanded, replacing, shown
from ds_keras.detection.boxes import SHOWN

if TYPE_CHECKING:
    from ds_keras.detection import Detections

TIMED = 4  # photos that the parts are timed on
HEADER = ("photo", "class", "%", "left", "top", "right", "bottom")
FLAGS = Flags()
FLAGS.positional("photo", "Image files of any size, or folders of them: JPEG, PNG, GIF, BMP, WebP, TIFF.")
FLAGS.string(
    "model", None, "Preset of a detector; or what train_detector wrote: its workdir; or a bundle.", required=True
)
FLAGS.integer("level", None, "Slice level; default the largest.", lower_bound=0)
FLAGS.existing("cascade", None, "What route_detector wrote: a level for each photo; default that of the bundle.")
FLAGS.number(
    "budget",
    None,
    "Run a cascade at this average cost, as a share of the largest level's.",
    lower_bound=0.0,
    upper_bound=1.0,
)
FLAGS.number(
    "milliseconds", None, "Run a cascade at this average time on this machine, which is measured.", lower_bound=0.0
)
FLAGS.number("threshold", SHOWN, "Smallest score of what is shown.", lower_bound=0.0, upper_bound=1.0)
FLAGS.destination("output", None, "Directory for pictures with the boxes drawn.")
FLAGS.switch("keras", False, "Run the Keras model, not the bundle or the TFLite files.")


def main(_: str) -> None:
    """Reads the flags, detects, prints the table; boxes are in pixels of the upright photo."""
    photos = [file for photo in FLAGS.rest for file in photo_files(photo)]
    detector = _open(detector_place(FLAGS.model))
    asked = FLAGS.cascade is not None or FLAGS.budget is not None or FLAGS.milliseconds is not None
    how = {"cascade": _cascade(detector, photos)} if asked else {"level": FLAGS.level}
    rows: list[tuple[str, ...]] = [HEADER]
    for i, photo in enumerate(photos):
        (found,) = detector.detect([photo], threshold=FLAGS.threshold, **how)
        rows += _rows(photo, found)
        if FLAGS.output is not None:
            _draw(photo, found, expanded(FLAGS.output) / f"{i:04}_{Path(photo).stem}.png")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[i].rjust(width) if i > 1 else row[i].ljust(width) for i, width in enumerate(widths)]
        print("  ".join(cells).rstrip())


def _cascade(detector: Any, photos: list[str]) -> Any:
    """The cascade of the flags, at the cost that they ask for."""
    from ds_keras.detection import DetectionCascade

    if FLAGS.level is not None:
        raise ValueError("--cascade, --budget and --milliseconds go without --level")
    if FLAGS.keras and (FLAGS.cascade is None or FLAGS.milliseconds is not None):
        raise ValueError("--keras runs a cascade that --cascade names, without --milliseconds")
    if FLAGS.budget is not None and FLAGS.milliseconds is not None:
        raise ValueError("give --budget or --milliseconds, not both")
    cascade = detector.cascade if FLAGS.cascade is None else DetectionCascade.read(FLAGS.cascade)
    if cascade is None:
        raise ValueError(f"--cascade must name a cascade, as {FLAGS.model!r} holds none")
    if FLAGS.milliseconds is None:
        return cascade if FLAGS.budget is None else cascade.at(fraction=FLAGS.budget)
    times = detector.benchmark(photos[:TIMED], cascade)
    return cascade.at(milliseconds=FLAGS.milliseconds, times=times)


def _open(folder: Path) -> Any:
    """A session where there are files for LiteRT, else the Keras model."""
    from ds_keras import zoo
    from ds_keras.detection import files, session

    places = (folder, folder / zoo.BUNDLE, folder / "preset" / zoo.BUNDLE, folder / "tflite")
    found = [at for at in places if files.is_source(at)]
    source = found[0] if found else None
    if FLAGS.keras and folder.is_file():
        raise ValueError(f"--model must be a folder with a preset for --keras, received the file {str(folder)!r}")
    if source is not None and not FLAGS.keras:
        try:
            with muted():  # LiteRT names its kernels when it opens the first network
                return session.Session(source)
        except ImportError as error:
            raise ImportError(f"{error}; or give --keras") from error
    from ds_keras import detection

    inside = folder / "preset"
    return detection.load(inside if inside.is_dir() else folder)


def _rows(photo: str, found: "Detections") -> list[tuple[str, ...]]:
    """A line for each box; the photo stands in the first."""
    from ds_keras.detection.boxes import image_size

    width, height = image_size(photo)
    rows: list[tuple[str, ...]] = []
    for box, score, name in zip(found.boxes, found.scores, found.names, strict=True):
        corners = [f"{value:.0f}" for value in (box * [width, height, width, height]).tolist()]
        rows.append(("" if rows else photo, shown(name), f"{100 * score:.1f}", *corners))
    return rows or [(photo, "nothing", *[""] * 5)]


def _draw(photo: str, found: "Detections", path: Path) -> None:
    from ds_keras.detection.boxes import draw

    with replacing(path) as temporary:
        draw(photo, found).save(temporary)
