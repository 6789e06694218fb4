"""Paired timings: of a bundle in LiteRT (--bundle), of an ONNX file (--onnx), or of a supernet in TensorFlow.

With --bundle: every level and the default policy against the largest level, one image at a time, budgets in
milliseconds asked and spent, load times and memory; with --preset too, every level's body against its direct
conversion, and the session against a static file of the whole network, and against Keras; with --java besides, the
Android session on a JVM instead: against static files, and routed against its largest level. With --onnx, a file with
the level as an input, and its --preset: each level against its static ONNX file, and that against its TFLite file.
With the --preset of an LC-ResNet: its file in LiteRT against the whole network, one image at a time. Else: slicing at
run time, routed batches, the Stage I step, the pipeline.

Example:
    python tools/benchmark.py --bundle=model.dsbundle --images=photos --plot=levels.png
    python tools/benchmark.py --onnx=digits.onnx --preset=ds_mobilenet_digits
    python tools/benchmark.py --preset=ds_mobilenet_digits --batch_size=256
    python tools/benchmark.py --preset=runs/lc/preset --images=photos
    python tools/benchmark.py --layout=imagenet --batch_size=8 --what=slicing --json=slicing.json
    python tools/benchmark.py --architecture=DSViT --layout=cifar
"""

import contextlib
import importlib.metadata
import os
import platform
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cli
from absl import flags

FLAGS = flags.FLAGS
WHAT = ("slicing", "routed_batch", "stage1_step", "pipeline")
MORE = ("bundle", "pytorch")  # on request: minutes on a large layout, and PyTorch
flags.DEFINE_string("preset", None, "Preset or directory.")
flags.DEFINE_enum("architecture", "DSMobileNet", ["DSMobileNet", "DSResNet", "DSViT"], "What --layout is a layout of.")
flags.DEFINE_enum(
    "layout", None, ["imagenet", "medium", "small", "tiny", "cifar"], "An untrained layout of --architecture instead."
)
flags.DEFINE_string("bundle", None, "Bundle to measure in LiteRT.")
flags.DEFINE_string("against", None, "Another bundle of the same preset, to compare --bundle with.")
flags.DEFINE_enum("quantization", "none", ["none", "float16", "dynamic_int8", "int8"], "Of --what=bundle.")
flags.DEFINE_string("onnx", None, "ONNX file of --preset, with the level as an input, to measure in ONNX Runtime.")
flags.DEFINE_string("data", None, "Images for --bundle (see ds_keras.data.load: its test part); default noise.")
flags.DEFINE_string("images", None, "Images for --bundle instead: a folder of image files.")
flags.DEFINE_integer("count", 200, "Images for --bundle, at most, and for --onnx (noise).", lower_bound=1)
flags.DEFINE_bool(
    "java", False, "Time the Android code of --bundle and --preset instead; needs a JDK of Java 22 or later."
)
flags.DEFINE_string("plot", None, "Draw the levels of --bundle into this picture.")
flags.DEFINE_list("what", list(WHAT), f"Any of {', '.join(WHAT + MORE)}.")
flags.DEFINE_list("levels", None, "Levels of --layout=imagenet to have; default all 14.")
flags.DEFINE_integer("batch_size", 32, "Images at a time.", lower_bound=1)
flags.DEFINE_integer("rounds", 30, "Pairs for each row.", lower_bound=3)
flags.DEFINE_integer("threads", 0, "Threads; 0 is one in LiteRT, and TensorFlow's own choice.", lower_bound=0)
flags.DEFINE_string("json", None, "Write the rows to this file too.")


def main(_: list[str]) -> None:
    """Reads the flags and measures."""
    if FLAGS.java:
        rows = _java_rows()
    elif _skips():
        rows = _skipping_rows()
    else:
        rows = _onnx_rows() if FLAGS.onnx else _bundle_rows() if FLAGS.bundle else _model_rows()
    for row in rows:
        timing = (
            f"{row['ms']:9.3f} ms"
            if "ms" in row
            else f"{row['mb']:9.3f} MB"
            if "mb" in row
            else f"{row['a_ms']:9.3f} ms against {row['b_ms']:9.3f} ms: "
            f"ratio {row['ratio']:.3f}, p90 {row['ratio_p90']:.3f}; p90 {row['a_p90_ms']:.3f} ms"
        )
        if "madds" in row:
            timing += f"; {row['madds']:.3f} of the MAdds"
        print(f"{row['what']:13} {row['level']!s:>14} {row['kind']:14} {timing}")
    if FLAGS.json:
        from ds_keras.core.files import write_json

        write_json(FLAGS.json, {**_conditions(), "rows": rows})


def _conditions() -> dict[str, Any]:
    """What the rows depend on."""
    packages = ("tensorflow", "keras", "ai-edge-litert", "numpy", "onnxruntime", "torch")
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    if FLAGS.java:
        import jvm

        versions["java"] = jvm.version(jvm.find_jdk())
    one_by_one = bool(FLAGS.onnx or FLAGS.bundle or _skips())
    return {
        "measured": FLAGS.onnx or FLAGS.bundle or FLAGS.preset or f"{FLAGS.architecture}.{FLAGS.layout}",
        "images": FLAGS.data or FLAGS.images or "noise",
        "count": FLAGS.count if one_by_one else None,
        "batch_size": 1 if one_by_one else FLAGS.batch_size,
        "rounds": FLAGS.rounds,
        "threads": FLAGS.threads or (1 if one_by_one else None),
        "machine": _machine(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _machine() -> str:
    """The processor's name and its cores."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # Linux
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
        name = found[1] if found else name
    return f"{name}, {os.cpu_count()} cores"


def _bundle_rows() -> list[dict]:
    """Timings of a bundle."""
    if FLAGS.layout:
        raise ValueError("give --bundle with or without --preset, not with --layout")
    from ds_keras.benchmarks import bundle as benchmark
    from ds_keras.benchmarks import opening
    from ds_keras.runtime import Session

    threads = FLAGS.threads or 1
    session = Session(FLAGS.bundle, threads, keep=1000)
    images = _images(session.image_shape)
    rows = opening.load(FLAGS.bundle, threads) + opening.memory(FLAGS.bundle, threads)
    rows += benchmark.levels(session, images, FLAGS.rounds) + benchmark.routed(session, images, FLAGS.rounds)
    rows += benchmark.budgets(session, images, rounds=FLAGS.rounds) + benchmark.xnnpack(session, images, FLAGS.rounds)
    if FLAGS.plot:
        benchmark.plot(rows, FLAGS.plot)
    if FLAGS.against:
        other = Session(FLAGS.against, threads, keep=1000)
        for level in (*range(session.num_levels), None):  # None: the default policy
            run, name = partial(other.run, level=level), f"{other.manifest['quantization'] or 'float32'} bundle"
            rows += benchmark.against(name, session, level, run, images, FLAGS.rounds)
    if FLAGS.preset:
        from ds_keras import zoo
        from ds_keras.export.tflite.source import ExportSource

        quantization = session.manifest["quantization"]
        networks = ExportSource(zoo.load(FLAGS.preset), quantization, images if quantization == "int8" else None)
        for level in range(session.num_levels):
            rows += _rows_of_a_level(session, networks, level, images)
    return rows


def _rows_of_a_level(session: Any, networks: Any, level: int, images: Any) -> list[dict]:
    """A level of a bundle against the other ways to run it."""
    import tensorflow as tf

    from ds_keras.benchmarks import bundle as benchmark
    from ds_keras.runtime.network import Interpreted

    direct = networks.converted("body", level)
    whole = Interpreted(networks.converted("whole", level), session.num_threads)
    in_keras = tf.function(lambda x: networks.model(x, level=level))
    rows = benchmark.materialized(session, level, direct, images, FLAGS.rounds)
    rows += benchmark.against("whole file", session, level, whole, images, FLAGS.rounds)
    rows += benchmark.routed_to(session, level, whole, images, FLAGS.rounds)
    return rows + benchmark.against("Keras", session, level, in_keras, images, FLAGS.rounds)


def _java_rows() -> list[dict]:
    """Timings of the Android session."""
    if not FLAGS.bundle or not FLAGS.preset or FLAGS.onnx or FLAGS.against or FLAGS.plot or FLAGS.threads > 1:
        raise ValueError(
            "give --java with --bundle and the --preset that it was made of, without --onnx, --against and --plot, and "
            "with one thread at most"
        )
    import jvm
    import numpy as np

    from ds_keras import zoo
    from ds_keras.core.timing import of_pairs
    from ds_keras.export.tflite.source import ExportSource
    from ds_keras.runtime import Session

    session = Session(FLAGS.bundle)
    images, quantization = _images(session.image_shape), session.manifest["quantization"]
    networks = ExportSource(zoo.load(FLAGS.preset), quantization, images if quantization == "int8" else None)
    with tempfile.TemporaryDirectory() as folder:
        runner, files = jvm.Runner(Path(folder)), []
        for level in range(session.num_levels):
            files.append(Path(folder) / f"whole_{level}.tflite")
            files[level].write_bytes(networks.converted("whole", level))
        lines = runner("time", FLAGS.bundle, images, FLAGS.rounds, 2000, *files)
    if lines[0].startswith("error: "):
        raise ValueError(lines[0].removeprefix("error: "))
    found = [line.split() for line in lines]
    rows = []
    for what, level, *nanoseconds in found:
        times = np.array(nanoseconds, "float64").reshape(-1, 2) / 1e9
        rows.append({"what": what, "level": level, "kind": "Java", **of_pairs(times).of_one(len(images))._asdict()})
    madds = session.run(images).madds.mean() / session.run(images[:1], level=session.num_levels - 1).madds[0]
    rows[0]["madds"] = float(madds)
    return rows


def _images(shape: tuple[int, int, int]) -> Any:
    """The images to measure on: (count, height, width, channels)."""
    import numpy as np

    if FLAGS.data and FLAGS.images:
        raise ValueError(f"give --data or --images, received {FLAGS.data!r} and {FLAGS.images!r}")
    if FLAGS.data:
        from ds_keras import data

        source = data.load(FLAGS.data)["test"]
        source = source.subset(np.random.default_rng(0).permutation(len(source))[: FLAGS.count])
        return source.images(shape[:2])
    if FLAGS.images:
        return cli.read_images(FLAGS.images, shape, FLAGS.count, "--images")
    return np.random.default_rng(0).uniform(0, 255, (FLAGS.count, *shape)).astype("float32")


def _onnx_rows() -> list[dict]:
    """Timings of an ONNX file."""
    if FLAGS.bundle or FLAGS.layout or not FLAGS.preset:
        raise ValueError("give --onnx with the --preset that it was made of, without --bundle and --layout")
    import numpy as np

    from ds_keras import zoo
    from ds_keras.benchmarks import onnx as benchmark

    model = zoo.load(FLAGS.preset)
    images = np.random.default_rng(0).uniform(0, 255, (FLAGS.count, *model.image_shape)).astype("float32")
    return benchmark.onnx_levels(model, FLAGS.onnx, images, FLAGS.rounds, FLAGS.threads or 1)


def _skips() -> bool:
    """Whether --preset is an LC-ResNet, to be measured by itself."""
    from ds_keras import zoo

    alone = FLAGS.preset and not (FLAGS.onnx or FLAGS.bundle or FLAGS.layout)
    return bool(alone) and zoo.kind(FLAGS.preset) == "LCResNet"


def _skipping_rows() -> list[dict]:
    """Timings of an LC-ResNet in LiteRT."""
    others = ("against", "plot", "levels", "what")
    if given := [f"--{name}" for name in others if FLAGS[name].present]:
        raise ValueError(f"an LCResNet has no levels: leave out {', '.join(given)}")
    from ds_keras import zoo
    from ds_keras.lcnet import benchmark as benchmark_lc

    model = zoo.load(FLAGS.preset)
    return benchmark_lc.skipping(model, _images(model.image_shape), FLAGS.rounds, FLAGS.threads or 1)


def _model_rows() -> list[dict]:
    """Timings of a supernet in TensorFlow."""
    if (FLAGS.preset is None) == (FLAGS.layout is None):
        raise ValueError("give --bundle, or exactly one of --preset and --layout")
    if unknown := set(FLAGS.what) - set(WHAT + MORE):
        raise ValueError(f"--what must name some of {WHAT + MORE}, received {sorted(unknown)}")
    import tensorflow as tf

    if FLAGS.threads:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    from rich.progress import track

    from ds_keras import models, zoo
    from ds_keras.benchmarks import supernet as benchmark

    if FLAGS.preset:
        model = zoo.load(FLAGS.preset)
    else:
        make = getattr(getattr(models, FLAGS.architecture), FLAGS.layout, None)
        if make is None:
            raise ValueError(f"{FLAGS.architecture} has no layout {FLAGS.layout!r}")
        levels = {"levels": [int(level) for level in FLAGS.levels]} if FLAGS.levels else {}
        model = make(1000 if FLAGS.layout == "imagenet" else 10, **levels)
        model.build()
    options = {"bundle": {"quantization": None if FLAGS.quantization == "none" else FLAGS.quantization}}
    return [
        row
        for what in track(FLAGS.what, description="measuring")
        for row in getattr(benchmark, what)(model, FLAGS.batch_size, FLAGS.rounds, **options.get(what, {}))
    ]


if __name__ == "__main__":
    cli.run(main)
