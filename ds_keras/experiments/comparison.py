"""The comparison of the policies that a preset ships with: held-out temperatures, figures of the test set."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from ds_keras import zoo
from ds_keras.core.files import write_bytes
from ds_keras.evaluation.tables import compare
from ds_keras.routing.replay import Predictions, fit_temperatures

if TYPE_CHECKING:
    from ds_keras.models.supernet import Supernet


def compare_policies(
    model: "Supernet", directory: Path, name: str, *, held_out: Predictions, tested: Predictions
) -> dict[str, Any]:
    """Compares the policies on test images, and draws them into a preset's folder.

    Args:
        model: in float32, with a budget table.
        directory: of the preset.
        name: title of the picture.
        held_out: of the images that temperatures are fitted on.
        tested: of the images that are compared on.

    Returns:
        See ``evaluation.compare``; "plot" names the picture, and is None where matplotlib is missing.
    """
    temperatures = fit_temperatures(held_out)
    figures = {**compare(model, tested, temperatures), "plot": None}
    if importlib.util.find_spec("matplotlib") is None:
        logging.info("no plot of the policies: pip install 'ds_keras[report]' for it")
        return figures
    from ds_keras.report import policies_png

    write_bytes(directory / zoo.PLOT, policies_png(model, tested, temperatures, name))
    return {**figures, "plot": zoo.PLOT}
