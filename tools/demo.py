"""Loads the digits preset, routes images that it was not trained on, exports every level and times it.

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


SHADES = " ░▒▓█"


def picture(image: np.ndarray) -> str:
    """An image (height, width, 1) in [0, 255] as text: two characters a pixel."""
    return "\n".join("".join(2 * SHADES[int(value) * len(SHADES) // 256] for value in row) for row in image[..., 0])


def show_images(console: Console, model, images, labels, routed) -> None:
    """A few images of the smallest and of the largest level that was used, as pictures."""
    panels = []
    for level in sorted(set(routed.levels.tolist())):
        for i in np.flatnonzero(routed.levels == level)[:3]:
            said = int(routed.logits[i].argmax())
            mark = "right" if said == labels[i] else f"WRONG, it is a {labels[i]}"
            caption = f"says {said} ({mark})\nlevel {level}, {routed.madds[i] / 1e3:.1f} kMAdds"
            panels.append(Panel(Text(f"{picture(images[i])}\n{caption}"), width=26))
    console.print(Columns(panels))


def latency(data: bytes, image: np.ndarray, runs: int = 300) -> float:
    """Median milliseconds of one image through a TFLite file, one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times))


def show_bundle(console: Console, images, labels, routed, static: int) -> None:
    """The same preset as its bundle: one file for all levels, run without TensorFlow."""
    from ds_keras import zoo
    from ds_keras.runtime import Session

    path = zoo.bundle("ds_mobilenet_digits")
    session = Session(path)
    found = session.run(images)
    right = 100 * (found.logits.argmax(1) == labels).mean()
    same = 100 * (found.levels == routed.levels).mean()
    console.print(
        f"\nThe bundle {path.name} holds all levels in {path.stat().st_size / 1e3:.1f} kB, in half precision "
        f"(one float32 file for each: {static / 1e3:.1f} kB). ds_keras.runtime, which needs no TensorFlow, routes the "
        f"same images with it: top-1 {right:.2f} %, {same:.1f} % of them at the level above."
    )


def main(_: str) -> None:
    """Runs the demo."""
    from ds_keras import data, export, zoo
    from ds_keras.core import cost
    from ds_keras.export.tflite.convert import run_tflite
    from ds_keras.routing import execute as routing

    console = Console()
    console.rule("[bold]ds_keras: one network, the cost follows the image")
    model = zoo.load("ds_mobilenet_digits")
    test = data.digits()["test"]
    images, labels = test.images(), test.labels
    console.print(
        f"{model.name}: {len(model.levels)} levels, {len(images)} test images (8x8 digits) it was not trained on, "
        f"policy {model.default_policy!r}\n"
    )
    routed = model.predict_routed(images)
    show_images(console, model, images, labels, routed)

    every = routing.predict_levels(model, images)
    table = Table(title="Accuracy and cost on the test images")
    for column in ("run", "top-1 %", "kMAdds an image", "share of the largest"):
        table.add_column(column, justify="right")
    largest = cost.madds(model, len(model.levels) - 1)
    rows = [(f"level {k}", logits, cost.madds(model, k)) for k, logits in enumerate(every)]
    for name, logits, madds in [*rows, ("routed", routed.logits, routed.madds.mean())]:
        right = 100 * (logits.argmax(1) == labels).mean()
        style = "bold" if name == "routed" else ""
        table.add_row(name, f"{right:.2f}", f"{madds / 1e3:.1f}", f"{100 * madds / largest:.1f} %", style=style)
    console.print(table)

    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(FLAGS.output or temporary)
        with console.status("exporting every level to TFLite"):
            paths = export.to_tflite(model, directory)
        table = Table(title="TFLite, one static file for each level, one thread")
        for column in ("file", "kB", "largest difference to Keras", "same class", "median ms"):
            table.add_column(column, justify="right")
        for path, logits in zip(paths, every, strict=True):
            blob = path.read_bytes()
            lite = run_tflite(blob, images.astype("float32"))["logits"]
            same = 100 * (lite.argmax(1) == logits.argmax(1)).mean()
            table.add_row(
                path.name,
                f"{len(blob) / 1e3:.1f}",
                f"{np.abs(lite - logits).max():.1e}",
                f"{same:.1f} %",
                f"{latency(blob, images[:1].astype('float32')):.4f}",
            )
        console.print(table)
        show_bundle(console, images, labels, routed, sum(path.stat().st_size for path in paths))
        if FLAGS.output:
            console.print(f"files: {directory}")


if __name__ == "__main__":
    program.run(sys.modules[__name__], ["demo"], sys.argv[1:])
