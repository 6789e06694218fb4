"""Times a supernet in TensorFlow: slicing at run time, routed batches, the Stage I step, the input pipeline.

On request (--what), a bundle of it against static files, or against PyTorch.

Example:
    ds-keras benchmark supernet --preset=ds_mobilenet_digits --batch_size=256
    ds-keras benchmark supernet --layout=imagenet --batch_size=8 --what=slicing --json=slicing.json
    ds-keras benchmark supernet --architecture=DSViT --layout=cifar
"""

from typing import TYPE_CHECKING

from ds_keras.cli.benchmark import common
from ds_keras.cli.flags import Flags

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel

WHAT = ("slicing", "routed_batch", "stage1_step", "pipeline")
MORE = ("bundle", "pytorch")  # on request: minutes on a large layout, and PyTorch
ARCHITECTURES = ["DSMobileNet", "DSResNet", "DSViT"]
LAYOUTS = ["imagenet", "medium", "small", "tiny", "cifar"]
FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory; or give --layout.")
FLAGS.choice("layout", None, LAYOUTS, "An untrained layout of --architecture instead.")
FLAGS.choice("architecture", "DSMobileNet", ARCHITECTURES, "What --layout is a layout of.")
FLAGS.words("levels", None, "Levels of --layout=imagenet to have; default all 14.")
FLAGS.words("what", list(WHAT), f"Any of {', '.join(WHAT + MORE)}.")
FLAGS.choice("quantization", "none", ["none", "float16", "dynamic_int8", "int8"], "Of --what=bundle.")
FLAGS.integer("batch_size", 32, "Images at a time.", lower_bound=1)
FLAGS.integer("threads", 0, "Threads of TensorFlow; 0 is its own choice.", lower_bound=0, upper_bound=1024)
common.timing_flags(FLAGS, threads=False)


def main(_: str) -> None:
    """Measures a supernet."""
    if (FLAGS.preset is None) == (FLAGS.layout is None):
        raise ValueError("give exactly one of --preset and --layout")
    if unknown := set(FLAGS.what) - set(WHAT + MORE):
        raise ValueError(f"--what must name some of {WHAT + MORE}, received {sorted(unknown)}")
    import tensorflow as tf
    from rich.progress import track

    if FLAGS.threads:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    from ds_keras.benchmarks import supernet as benchmark

    model = _model()
    options = {"bundle": {"quantization": None if FLAGS.quantization == "none" else FLAGS.quantization}}
    rows = [
        row
        for what in track(FLAGS.what, description="measuring")
        for row in getattr(benchmark, what)(model, FLAGS.batch_size, FLAGS.rounds, **options.get(what, {}))
    ]
    measured = FLAGS.preset or f"{FLAGS.architecture}.{FLAGS.layout}"
    common.show(FLAGS, rows, measured, batch_size=FLAGS.batch_size, threads=FLAGS.threads or None)


def _model() -> "ImageModel":
    """The preset, or an untrained layout."""
    from ds_keras import models, zoo
    from ds_keras.core.levels import require_levels

    if FLAGS.preset:
        model = zoo.load(FLAGS.preset)
        require_levels(model)
        return model
    make = getattr(getattr(models, FLAGS.architecture), FLAGS.layout, None)
    if make is None:
        raise ValueError(f"{FLAGS.architecture} has no layout {FLAGS.layout!r}")
    if FLAGS.levels and not all(level.isdecimal() and len(level) < 10 for level in FLAGS.levels):
        raise ValueError(f"--levels must be integers, received {','.join(FLAGS.levels)!r:.200}")
    levels = {"levels": [int(level) for level in FLAGS.levels]} if FLAGS.levels else {}
    model = make(1000 if FLAGS.layout == "imagenet" else 10, **levels)
    model.build()
    return model
