"""How many images a second training batches give, from TFRecord shards against plain files. Paired.

Example:
    python -m ds_keras.benchmarks.reading --data=folder:photos
"""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from absl import app, flags

from ds_keras import data
from ds_keras.core.timing import paired


def reading(
    source: data.Source, shards: int = 8, batch_size: int = 64, image_size: int = 128, steps: int = 4, rounds: int = 10
) -> dict[str, Any]:
    """Batches of a source, and of the same images in shards, cropped and mirrored at random.

    Args:
        source: images in files.
        shards: that are written for it, into a temporary folder.
        batch_size: images in a batch.
        image_size: of a batch, in pixels.
        steps: batches that are timed at once.
        rounds: pairs.

    Returns:
        "shards" and "files", images a second, and "ratio", time of the shards by time of the files.
    """
    with tempfile.TemporaryDirectory() as folder:
        stored = data.read_tfrecords(data.write_tfrecords(source, folder, shards))
        streams = [
            iter(data.batches(each, batch_size, 0, "rrc,flip", image_size).as_numpy_iterator())
            for each in (stored, source)
        ]
        first, second = (partial(_take, stream, steps) for stream in streams)
        times = paired(first, second, rounds)
    images = 1e3 * steps * batch_size
    return {"shards": images / times.a_ms, "files": images / times.b_ms, "ratio": times.ratio}


def _take(stream: Iterator, count: int) -> None:
    for _ in range(count):
        next(stream)


def main(_: Sequence[str]) -> None:
    """Prints the figures."""
    source = data.load(FLAGS.data)["train"]
    print("{shards:.0f} images/s from shards, {files:.0f} from files, time {ratio:.3f}".format(**reading(source)))


if __name__ == "__main__":
    FLAGS = flags.FLAGS
    flags.DEFINE_string("data", None, "Images in files, such as folder:photos.", required=True)
    app.run(main)
