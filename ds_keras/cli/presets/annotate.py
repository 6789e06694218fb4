"""Adds a note, or a comparison that ds-keras ablate made, to a preset's card.

Without --title the card is written anew from the figures.

Example:
    ds-keras annotate --preset=runs/digits/preset --title=Ablation --text="Three seeds." --result=ablation.json
"""

from ds_keras.cli.flags import Flags
from ds_keras.core.files import read_json

FLAGS = Flags()
FLAGS.string("preset", None, "Directory of the preset.", required=True)
FLAGS.string("title", None, "Title of the section; one of the same title is replaced.")
FLAGS.string("text", "", "What the section says; empty and without --result, the section goes.")
FLAGS.existing("result", None, "ablation.json with the table.")


def main(_: str) -> None:
    """Reads the flags, writes metrics and card."""
    from ds_keras.zoo.cards import annotate

    annotate(FLAGS.preset, FLAGS.title, FLAGS.text, read_json(FLAGS.result) if FLAGS.result else None)
