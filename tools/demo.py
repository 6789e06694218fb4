"""Names what is on two photos, routes images of digits, and exports every level; with the time of each level.

Example:
    python tools/demo.py
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ds_keras.cli import program
from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("output", None, "Keep the exported .tflite files in this directory.")

PHOTOS, DIGITS = "ds_mobilenet", "ds_mobilenet_digits"  # presets
ROUNDS = 5  # of timing
SHADES = " ░▒▓█"


def picture(image: np.ndarray) -> str:
    """An image (height, width, 1) in [0, 255] as text: two characters a pixel."""
    return "\n".join("".join(2 * SHADES[int(value) * len(SHADES) // 256] for value in row) for row in image[..., 0])


def show_images(console: Console, images, labels, routed) -> None:
    """A few images of every level that was used, as pictures; a wrong answer is among them if there is one."""
    said = routed.logits.argmax(1)
    wrong, panels = np.flatnonzero(said != labels), []
    for level in sorted(set(routed.levels.tolist())):
        here = np.flatnonzero(routed.levels == level)
        shown = dict.fromkeys([*here[np.isin(here, wrong)][:1].tolist(), *here[:3].tolist()])
        for i in list(shown)[:3]:
            mark = "right" if said[i] == labels[i] else f"WRONG, it is a {labels[i]}"
            caption = f"says {said[i]} ({mark})\nlevel {level}, {routed.madds[i] / 1e3:.1f} kMAdds"
            panels.append(Panel(Text(f"{picture(images[i])}\n{caption}"), width=26))
    console.print(Columns(panels))


def milliseconds(session, images, **how) -> float:
    """Of one image, one after the other, one thread; the median of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for image in images:
            session.run(image[None], **how)
        seconds.append((time.perf_counter() - began) / len(images))
    return 1e3 * float(np.median(seconds))


def table_of(title: str, *columns: str) -> Table:
    """An empty table; the first column is a name."""
    table = Table(title=title)
    for k, column in enumerate(columns):
        table.add_column(column, justify="right" if k else "left")
    return table


def show_photos(console: Console) -> None:
    """Two photos that come with scikit-learn, at every level and routed."""
    from sklearn.datasets import load_sample_images

    from ds_keras import zoo
    from ds_keras.photos.preprocessing import load_photo
    from ds_keras.runtime import Session

    session, photos = Session(zoo.bundle(PHOTOS)), load_sample_images()
    names = [Path(name).name for name in photos.filenames]
    count = session.num_levels
    console.print(
        f"{PHOTOS}: {count} levels, {session.image_shape[0]}x{session.image_shape[1]} px. It knows "
        f"{', '.join(session.labels)}; on another photo it can only be wrong.\n"
    )
    images = [load_photo(photo, session.image_shape, session.preprocessing) for photo in photos.images]
    table = table_of("Two photos, its bundle in LiteRT, one thread", "run", *names, "MMAdds", "ms")
    for name, how in [*((f"level {k}", {"level": k}) for k in range(count)), ("routed", {})]:
        found = session.classify(photos.images, top=1, **how)
        said = [f"{one.label} {100 * one.probability:.0f} %" for one in found]
        said = [f"{text}, level {one.level}" if not how else text for text, one in zip(said, found, strict=True)]
        madds = np.mean([one.madds for one in found])
        style = "" if how else "bold"
        table.add_row(name, *said, f"{madds / 1e6:.1f}", f"{milliseconds(session, images, **how):.2f}", style=style)
    console.print(table)


def show_digits(console: Console, model, images, labels) -> list[np.ndarray]:
    """Accuracy, cost and time of every level and of the routed run; returns the logits of every level."""
    from ds_keras import zoo
    from ds_keras.core import cost
    from ds_keras.routing import execute as routing
    from ds_keras.runtime import Session

    console.print(
        f"\n{model.name}: {len(model.levels)} levels, {len(images)} test images (8x8 digits) it was not trained on, "
        f"policy {model.default_policy!r}\n"
    )
    routed, session = model.predict_routed(images), Session(zoo.bundle(DIGITS))
    show_images(console, images, labels, routed)
    every = routing.predict_levels(model, images)
    title = "Accuracy, cost and time on the test images (time: bundle in LiteRT, one image at a time, one thread)"
    table = table_of(title, "run", "top-1 %", "kMAdds an image", "share of the largest", "ms")
    largest = cost.madds(model, len(model.levels) - 1)
    rows = [(f"level {k}", logits, cost.madds(model, k), {"level": k}) for k, logits in enumerate(every)]
    for name, logits, madds, how in [*rows, ("routed", routed.logits, routed.madds.mean(), {})]:
        right = 100 * (logits.argmax(1) == labels).mean()
        cells = f"{right:.2f}", f"{madds / 1e3:.1f}", f"{100 * madds / largest:.1f} %"
        spent = f"{milliseconds(session, images[:100], **how):.4f}"
        table.add_row(name, *cells, spent, style="" if how else "bold")
    console.print(table)
    found = session.run(images)
    console.print(
        f"Without TensorFlow, ds_keras.runtime routes the same images with top-1 "
        f"{100 * (found.logits.argmax(1) == labels).mean():.2f} %, "
        f"{100 * (found.levels == routed.levels).mean():.1f} % of them at the same level as Keras."
    )
    return every


def show_export(console: Console, model, images, every: list[np.ndarray], directory: Path) -> None:
    """A TFLite file for each level, beside the bundle that holds all of them."""
    from ds_keras import export, zoo
    from ds_keras.export.tflite.convert import run_tflite

    with console.status("exporting every level to TFLite"):
        paths = export.to_tflite(model, directory)
    table = table_of(
        "TFLite, one static file for each level", "file", "kB", "largest difference to Keras", "same class"
    )
    for path, logits in zip(paths, every, strict=True):
        lite = run_tflite(path.read_bytes(), images.astype("float32"))["logits"]
        same = 100 * (lite.argmax(1) == logits.argmax(1)).mean()
        size = f"{path.stat().st_size / 1e3:.1f}"
        table.add_row(path.name, size, f"{np.abs(lite - logits).max():.1e}", f"{same:.1f} %")
    console.print(table)
    bundle, total = zoo.bundle(DIGITS), sum(path.stat().st_size for path in paths)
    console.print(
        f"The bundle {bundle.name} holds all levels in {bundle.stat().st_size / 1e3:.1f} kB, in half precision; "
        f"these files take {total / 1e3:.1f} kB."
    )


def main(_: str) -> None:
    """Runs the demo."""
    from ds_keras import data, zoo

    console = Console()
    console.rule("[bold]ds_keras: one network, the cost follows the image")
    show_photos(console)
    model, test = zoo.load(DIGITS), data.digits()["test"]
    images, labels = test.images(), test.labels
    every = show_digits(console, model, images, labels)
    with tempfile.TemporaryDirectory() as temporary:
        show_export(console, model, images, every, Path(FLAGS.output or temporary))
    if FLAGS.output:
        console.print(f"files: {FLAGS.output}")


if __name__ == "__main__":
    program.run(sys.modules[__name__], ["demo"], sys.argv[1:])
