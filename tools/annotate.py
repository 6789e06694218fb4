"""Adds a note, or a comparison that tools/ablate.py made, to a preset's card; without --title it renders the card anew.

Example:
    python tools/annotate.py --preset=runs/digits/preset --title=Ablation --text="Three seeds." --result=ablation.json
"""

import json
from pathlib import Path

import cli
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("preset", None, "Directory of the preset.", required=True)
flags.DEFINE_string("title", None, "Title of the section; one of the same title is replaced.")
flags.DEFINE_string("text", "", "What the section says; empty and without --result, the section goes.")
flags.DEFINE_string("result", None, "ablation.json with the table.")


def main(_: list[str]) -> None:
    """Reads the flags, writes metrics and card."""
    from ds_keras.zoo.cards import annotate

    annotate(
        FLAGS.preset, FLAGS.title, FLAGS.text, json.loads(Path(FLAGS.result).read_text()) if FLAGS.result else None
    )


if __name__ == "__main__":
    cli.run(main)
