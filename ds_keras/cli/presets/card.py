"""Prints the card of a preset: figures, data and its terms, the command that made it. The text is Markdown.

Example:
    ds-keras card --preset=ds_mobilenet_digits
"""

from pathlib import Path

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory.", required=True)


def main(_: str) -> None:
    """Prints the text."""
    from ds_keras import zoo

    path = Path(zoo.card(FLAGS.preset)["folder"]) / zoo.CARD
    if not path.is_file():
        raise ValueError(f"{path} is missing: the preset {FLAGS.preset!r} has no card")
    print(path.read_text(encoding="utf-8"), end="")
