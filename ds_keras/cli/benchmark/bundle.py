"""Times a bundle in LiteRT: every level and the default policy against the largest level, one image at a time.

And budgets in milliseconds, asked and spent. With --static, every level against a static network of
``keras.applications``, with random weights and as many multiply-adds, as a TFLite file. With --preset, every level's
body against its direct conversion, and the session against a static file of the whole network, and against Keras.

Of a detector's bundle, every level against the largest: from an image to its boxes.

Example:
    ds-keras benchmark bundle --bundle=model.dsbundle --images=photos --plot=levels.png
    ds-keras benchmark bundle --bundle=model.dsbundle --preset=ds_mobilenet_digits --data=digits
    ds-keras benchmark bundle --bundle=model.dsbundle --static=MobileNetV2,MobileNetV3Large
"""

from functools import partial
from typing import Any

from ds_keras.cli.benchmark import common
from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.existing("bundle", None, "Bundle to measure.", required=True)
FLAGS.string("preset", None, "The preset that it was made of, to compare it with static files and with Keras.")
FLAGS.existing("against", None, "Another bundle of the same preset, to compare this one with.")
FLAGS.words("static", [], "Families of keras.applications, to compare the levels of a float bundle with.")
FLAGS.destination("plot", None, "Draw the levels into this picture.", file=True)
common.image_flags(FLAGS)
common.timing_flags(FLAGS)


def main(_: str) -> None:
    """Measures a bundle."""
    from ds_keras.benchmarks import bundle as benchmark
    from ds_keras.runtime import Bundle, Session
    from ds_keras.runtime.manifest import DETECTION, task_of

    bundle = Bundle(FLAGS.bundle)
    if task_of(bundle.manifest) == DETECTION:
        return _time_detector(bundle)
    session = Session(bundle, FLAGS.threads, keep=1000)
    images, rounds = common.images(FLAGS, session.image_shape), FLAGS.rounds
    rows = benchmark.levels(session, images, rounds) + benchmark.routed(session, images, rounds)
    rows += benchmark.budgets(session, images, rounds=rounds) + benchmark.xnnpack(session, images, rounds)
    if FLAGS.plot:
        benchmark.plot(rows, FLAGS.plot)
    if FLAGS.against:
        other = Session(FLAGS.against, FLAGS.threads, keep=1000)
        for level in (*range(session.num_levels), None):  # None: the default policy
            run, name = partial(other.run, level=level), f"{other.manifest['quantization'] or 'float32'} bundle"
            rows += benchmark.against(name, session, level, run, images, rounds)
    if FLAGS.static:
        from ds_keras.benchmarks import static

        for family in FLAGS.static:
            for level in range(session.num_levels):
                rows.append(static.beside(session, level, family, images, rounds))
    if FLAGS.preset:
        from ds_keras import zoo
        from ds_keras.export.tflite.source import ExportSource

        quantization = session.manifest["quantization"]
        source = ExportSource(zoo.load(FLAGS.preset), quantization, images if quantization == "int8" else None)
        for level in range(session.num_levels):
            rows += _rows_of_a_level(session, source, level, images)
    common.show(FLAGS, rows, FLAGS.bundle)


def _time_detector(bundle: Any) -> None:
    """Every level of a detector."""
    from ds_keras import detection
    from ds_keras.benchmarks import bundle as benchmark
    from ds_keras.cli.detection.timing import Detecting

    if FLAGS.preset or FLAGS.against or FLAGS.static:
        raise ValueError("--preset, --against and --static are for bundles of classifiers, this is a detector's")
    session = Detecting(detection.Session(bundle, FLAGS.threads, keep=1000))
    rows = benchmark.levels(session, common.images(FLAGS, session.detector.shape), FLAGS.rounds)
    if FLAGS.plot:
        benchmark.plot(rows, FLAGS.plot)
    common.show(FLAGS, rows, FLAGS.bundle)


def _rows_of_a_level(session: Any, source: Any, level: int, images: Any) -> list[dict]:
    """A level of a bundle against the other ways to run it."""
    import tensorflow as tf

    from ds_keras.benchmarks import bundle as benchmark
    from ds_keras.runtime.network import Interpreted

    direct = source.converted("body", level)
    whole = Interpreted(source.converted("whole", level), session.num_threads)
    in_keras = tf.function(lambda x: source.model(x, level=level), autograph=False)
    rows = benchmark.materialized(session, level, direct, images, FLAGS.rounds)
    rows += benchmark.against("whole file", session, level, whole, images, FLAGS.rounds)
    rows += benchmark.routed_to(session, level, whole, images, FLAGS.rounds)
    return rows + benchmark.against("Keras", session, level, in_keras, images, FLAGS.rounds)
