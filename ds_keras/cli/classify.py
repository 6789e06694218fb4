"""Names what is on photos: classes and their probabilities, the level that each image took, its multiply-adds.

Runs the preset's bundle in LiteRT, without TensorFlow, which starts at once; with --keras, and where the preset has no
bundle, the Keras model.

Example:
    ds-keras classify --preset=ds_mobilenet photo.jpg
    ds-keras classify --bundle=model.dsbundle --top=3 --budget=0.3 photos
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ds_keras.cli.flags import Flags
from ds_keras.cli.inputs import photo_files
from ds_keras.cli.quiet import muted
from ds_keras.core.files import shown

if TYPE_CHECKING:
    from ds_keras.photos import Classification

HEADER = ("photo", "class", "%", "level", "MMAdds")
FLAGS = Flags()
FLAGS.positional("photo", "Image files of any size, or folders of them: JPEG, PNG, GIF, BMP, WebP, TIFF.")
FLAGS.string("preset", None, "Preset, alias or directory; or give --bundle.")
FLAGS.string("bundle", None, "Bundle to run.")
FLAGS.integer("top", 3, "Classes to name for each photo.", lower_bound=1)
FLAGS.integer("level", None, "Run all photos at this level; default the preset's policy.", lower_bound=0)
FLAGS.number("budget", None, "Average multiply-adds as a fraction of the largest level's, at most 1.")
FLAGS.switch("keras", False, "Run the Keras model, not the bundle.")


def main(_: str) -> None:
    """Reads the flags, classifies, prints the table."""
    if (FLAGS.preset is None) == (FLAGS.bundle is None):
        raise ValueError("give exactly one of --preset and --bundle, for example --preset=ds_mobilenet")
    if FLAGS.keras and FLAGS.bundle:
        raise ValueError(f"--keras needs --preset, received --bundle={FLAGS.bundle}")
    if FLAGS.budget is not None and FLAGS.budget > 1:
        raise ValueError(
            "--budget must be at most 1, which is the cost of the largest level, "
            f"received {FLAGS.budget:g}: give 0.3 for 30 %"
        )
    if FLAGS.budget is not None and FLAGS.level is not None:
        raise ValueError(f"--budget does not go with --level, received {FLAGS.budget:g} and {FLAGS.level}")
    photos = [file for photo in FLAGS.rest for file in photo_files(photo)]
    bundle = FLAGS.bundle or _bundle()
    found = _in_keras(photos) if bundle is None else _in_litert(bundle, photos)
    rows = [HEADER, *(row for photo, one in zip(photos, found, strict=True) for row in _rows(photo, one))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[i].rjust(width) if i > 1 else row[i].ljust(width) for i, width in enumerate(widths)]
        print("  ".join(cells).rstrip())


def _bundle() -> Any:
    """The preset's bundle; None where Keras runs."""
    from ds_keras import zoo

    path = Path(zoo.card(FLAGS.preset)["folder"]) / zoo.BUNDLE
    return path if path.is_file() and not FLAGS.keras else None


def _in_litert(bundle: Any, photos: list[str]) -> "list[Classification]":
    try:
        from ds_keras.runtime import Session

        with muted():  # LiteRT names its kernels when it opens the first network
            session = Session(bundle)
    except ImportError as error:
        raise ImportError(f"{error}; or give --keras, which runs the preset in Keras") from error
    return session.classify(photos, FLAGS.top, level=FLAGS.level, budget=FLAGS.budget)


def _in_keras(photos: list[str]) -> "list[Classification]":
    from ds_keras import zoo

    model = zoo.load(FLAGS.preset)
    how = {"policy": FLAGS.level, "budget": FLAGS.budget}
    if not hasattr(model, "levels") and any(value is not None for value in how.values()):
        raise ValueError(f"--level and --budget need a network with levels, received --preset={FLAGS.preset}")
    return model.classify(photos, FLAGS.top, **{name: value for name, value in how.items() if value is not None})


def _rows(photo: str, found: "Classification") -> list[tuple[str, ...]]:
    """A line for each class; the photo, its level and its cost stand in the first."""
    rows: list[tuple[str, ...]] = []
    for i, (label, probability) in enumerate(zip(found.labels, found.probabilities, strict=True)):
        level = "" if found.level is None else str(found.level)
        ends = (photo, level, f"{found.madds / 1e6:.2f}") if i == 0 else ("", "", "")
        rows.append((shown(ends[0], len(photo)), shown(label), f"{100 * probability:.1f}", *ends[1:]))
    return rows
