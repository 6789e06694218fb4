"""Times a Stage I step of a recipe: what shares, a frozen start and bfloat16 save, and PyTorch for the plain passes.

Images a second are the views of a batch over the time of its step.

Example:
    ds-keras benchmark training --preset=ds_mobilenet_imagenette --config=zoo/ds_mobilenet_imagenette/experiment.py
"""

from ds_keras.cli.benchmark import common
from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory: the network that is trained.", required=True)
FLAGS.string("config", None, "Python file that defines the EXPERIMENT whose Stage I is timed.", required=True)
common.timing_flags(FLAGS, threads=False)


def main(_: str) -> None:
    """Measures a recipe."""
    from ds_keras import zoo
    from ds_keras.benchmarks.training.recipe import recipe
    from ds_keras.core.levels import require_levels
    from ds_keras.experiments import read_experiment

    stage, model = read_experiment(FLAGS.config).stage1, zoo.load(FLAGS.preset)
    require_levels(model)
    rows = recipe(model, stage, FLAGS.rounds)
    common.show(FLAGS, rows, FLAGS.preset, batch_size=stage.batch_size, config=FLAGS.config, threads=None)
