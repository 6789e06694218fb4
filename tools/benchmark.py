"""Paired timings of a supernet in TensorFlow: slicing at run time, routed batches, the Stage I step, the pipeline.

Example:
    python tools/benchmark.py --preset=ds_mobilenet_digits --batch_size=256
    python tools/benchmark.py --layout=imagenet --batch_size=8 --what=slicing --json=slicing.json
    python tools/benchmark.py --architecture=DSViT --layout=cifar
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cli
from absl import flags

FLAGS = flags.FLAGS
WHAT = ("slicing", "routed_batch", "stage1_step", "pipeline")
flags.DEFINE_string("preset", None, "Preset or directory.")
flags.DEFINE_enum("architecture", "DSMobileNet", ["DSMobileNet", "DSResNet", "DSViT"], "What --layout is a layout of.")
flags.DEFINE_enum(
    "layout", None, ["imagenet", "medium", "small", "tiny", "cifar"], "An untrained layout of --architecture instead."
)
flags.DEFINE_list("what", list(WHAT), f"Any of {', '.join(WHAT)}.")
flags.DEFINE_integer("batch_size", 32, "Images at a time.", lower_bound=1)
flags.DEFINE_integer("rounds", 30, "Pairs for each row.", lower_bound=3)
flags.DEFINE_integer("threads", 0, "TensorFlow's intra-op threads; 0 leaves its choice.", lower_bound=0)
flags.DEFINE_string("json", None, "Write the rows to this file too.")


def main(_: list[str]) -> None:
    """Reads the flags and measures."""
    if (FLAGS.preset is None) == (FLAGS.layout is None):
        raise ValueError("give exactly one of --preset and --layout")
    if unknown := set(FLAGS.what) - set(WHAT):
        raise ValueError(f"--what must name some of {WHAT}, received {sorted(unknown)}")
    import tensorflow as tf

    if FLAGS.threads:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
    from rich.progress import track

    from ds_keras import benchmark, models, zoo
    from ds_keras.files import write_json

    if FLAGS.preset:
        model = zoo.load(FLAGS.preset)
    else:
        make = getattr(getattr(models, FLAGS.architecture), FLAGS.layout, None)
        if make is None:
            raise ValueError(f"{FLAGS.architecture} has no layout {FLAGS.layout!r}")
        model = make(10)
        model.build()
    rows = []
    for what in track(FLAGS.what, description="measuring"):
        rows += getattr(benchmark, what)(model, FLAGS.batch_size, FLAGS.rounds)
    for row in rows:
        print(
            f"{row['what']:13} {row['level']!s:>14} {row['kind']:6} {row['a_ms']:9.3f} ms "
            f"against {row['b_ms']:9.3f} ms: ratio {row['ratio']:.3f}, p90 {row['ratio_p90']:.3f}"
        )
    if FLAGS.json:
        write_json(FLAGS.json, {"model": model.name, "batch_size": FLAGS.batch_size, "rows": rows})


if __name__ == "__main__":
    cli.run(main)
