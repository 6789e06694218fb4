"""Times an ONNX file with the level as an input: each level against its static ONNX file, and that against TFLite.

Example:
    ds-keras benchmark onnx --onnx=digits.onnx --preset=ds_mobilenet_digits
"""

from ds_keras.cli.benchmark import common
from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("onnx", None, "ONNX file with the level as an input, to measure in ONNX Runtime.", required=True)
FLAGS.string("preset", None, "The preset that it was made of.", required=True)
FLAGS.integer("count", 200, "Images of noise.", lower_bound=1)
common.timing_flags(FLAGS)


def main(_: str) -> None:
    """Measures an ONNX file."""
    from ds_keras import zoo
    from ds_keras.benchmarks import onnx as benchmark

    model = zoo.load(FLAGS.preset)
    images = common.noise(FLAGS.count, model.image_shape)
    common.show(FLAGS, benchmark.onnx_levels(model, FLAGS.onnx, images, FLAGS.rounds, FLAGS.threads), FLAGS.onnx)
