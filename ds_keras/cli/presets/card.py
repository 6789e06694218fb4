"""Prints the card of a preset: figures, data and its terms, the command that made it. The text is Markdown.

Example:
    ds-keras card --preset=ds_mobilenet_digits
"""

import os
from pathlib import Path

from ds_keras.cli.flags import Flags
from ds_keras.core.files import read_limited, shown

FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory.", required=True)


def main(_: str) -> None:
    """Prints the text."""
    from ds_keras import zoo

    path = Path(zoo.card(FLAGS.preset)["folder"]) / zoo.CARD
    if not os.path.lexists(path):
        raise ValueError(f"{path} is missing: the preset {FLAGS.preset!r} has no card")
    text = read_limited(path, zoo.MAX_TEXT).decode(errors="replace")
    print("\n".join(shown(line, len(line)) for line in text.split("\n")), end="")  # no codes that move the cursor
