"""Writes an image set as TFRecord shards, or checks shards by their checksums.

The same command goes on where it was interrupted: each shard appears whole or not at all, and shards that an earlier
call finished are passed over.

Example:
    ds-keras shards --data=folder:photos --directory=photos-tfrecord --shards=128
    ds-keras shards --verify --directory=photos-tfrecord
"""

from pathlib import Path

from absl import logging

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.destination("directory", None, "Gets a folder of shards for each part of the data (train, test).", required=True)
FLAGS.string("data", None, "The images (see ds_keras.data.load).")
FLAGS.integer("shards", 128, "Files for the training part; the others get files of about that size.", lower_bound=1)
FLAGS.switch("verify", False, "Compare the shards that are there with their checksums.")


def main(_: str) -> None:
    """Writes or checks."""
    if FLAGS.verify == (FLAGS.data is not None):
        raise ValueError("give exactly one of --data and --verify")
    from ds_keras import data

    root = Path(FLAGS.directory)
    if FLAGS.verify:
        parts = sorted(path.parent for path in root.glob("*/index.json"))
        if not parts:
            raise ValueError(f"--directory must hold parts with an index.json, {str(root)!r} has none")
        for part in parts:
            data.verify_tfrecords(part, _say(f"{part.name}: checked"))
        return print("\n".join(f"{part}: every shard is as it was written" for part in parts))
    sources = data.load(FLAGS.data)
    size = max(len(sources["train"]) // FLAGS.shards, 1)  # images in a shard
    for name, source in sources.items():
        if (root / name / "index.json").exists():
            print(f"{root / name}: is there already")
            continue
        count = min(FLAGS.shards, len(source)) if name == "train" else max(len(source) // size, 1)
        data.write_tfrecords(source, root / name, count, resume=True, progress=_say(f"{name}: wrote"))
        print(f"{root / name}: {len(source)} images in {count} shards")


def _say(what: str):
    return lambda done, total: logging.info("%s shard %d of %d", what, done, total)
