"""Times the file of an LC-ResNet in LiteRT, which skips blocks and channels, against the whole network.

One image at a time.

Example:
    ds-keras benchmark lcnet --preset=runs/lc/preset --images=photos
"""

from ds_keras.cli.benchmark import common
from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("preset", None, "Directory of the preset.", required=True)
common.image_flags(FLAGS)
common.timing_flags(FLAGS)


def main(_: str) -> None:
    """Measures a network without levels."""
    from ds_keras import zoo
    from ds_keras.benchmarks.dynamic import dynamic

    model = zoo.load(FLAGS.preset)
    images = common.images(FLAGS, model.image_shape)
    common.show(FLAGS, dynamic(model, images, FLAGS.rounds, FLAGS.threads), FLAGS.preset)
