"""Times the Android session on a JVM: against static files, and routed against its largest level.

It needs a JDK of Java 22 or later, and the checkout: the Java code is no part of the package.

Example:
    python tools/benchmark_java.py --bundle=model.dsbundle --preset=ds_mobilenet_digits
"""

import sys
import tempfile
from pathlib import Path

import jvm

from ds_keras.cli import program
from ds_keras.cli.benchmark import common
from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("bundle", None, "Bundle to measure.", required=True)
FLAGS.string("preset", None, "The preset that it was made of.", required=True)
common.image_flags(FLAGS)
common.timing_flags(FLAGS, threads=False)


def main(_: str) -> None:
    """Compiles the Android session and measures it."""
    import numpy as np

    from ds_keras import zoo
    from ds_keras.core.timing import of_pairs
    from ds_keras.export.tflite.source import ExportSource
    from ds_keras.runtime import Session

    session = Session(FLAGS.bundle)
    images, quantization = common.images(FLAGS, session.image_shape), session.manifest["quantization"]
    source = ExportSource(zoo.load(FLAGS.preset), quantization, images if quantization == "int8" else None)
    with tempfile.TemporaryDirectory() as folder:
        runner, files = jvm.Runner(Path(folder)), []
        for level in range(session.num_levels):
            files.append(Path(folder) / f"whole_{level}.tflite")
            files[level].write_bytes(source.converted("whole", level))
        lines = runner("time", FLAGS.bundle, images, FLAGS.rounds, 2000, *files)
    if lines[0].startswith("error: "):
        raise ValueError(lines[0].removeprefix("error: "))
    rows = []
    for what, level, *nanoseconds in (line.split() for line in lines):
        times = np.array(nanoseconds, "float64").reshape(-1, 2) / 1e9
        rows.append({"what": what, "level": level, "kind": "Java", **of_pairs(times).of_one(len(images))._asdict()})
    madds = session.run(images).madds.mean() / session.run(images[:1], level=session.num_levels - 1).madds[0]
    rows[0]["madds"] = float(madds)
    common.show(FLAGS, rows, FLAGS.bundle, versions={"java": jvm.version(jvm.find_jdk())})


if __name__ == "__main__":
    program.run(sys.modules[__name__], ["benchmark_java"], sys.argv[1:])
