"""The comparison of the policies that a preset ships with: held-out temperatures, figures of the test set."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from ds_keras import zoo
from ds_keras.core.files import write_bytes
from ds_keras.evaluation.tables import compare
from ds_keras.routing.replay import fit_temperatures, score

if TYPE_CHECKING:
    from ds_keras.experiments.run import Run
    from ds_keras.models.supernet import Supernet


def compare_policies(run: "Run", model: "Supernet", directory: Path) -> dict[str, Any]:
    """Compares the policies on the test images of a run, and draws them into a preset's folder.

    Args:
        run: that trained it: its held-out and its test images.
        model: in float32, with a budget table.
        directory: of the preset.

    Returns:
        See ``evaluation.compare``; "plot" names the picture, and is None where matplotlib is missing.
    """
    temperatures = fit_temperatures(score(model, run.x_held, run.held_out.labels))
    test = run.trial(run.sources["test"])
    predictions = score(model, test.images(run.experiment.image_size), test.labels)
    figures = {**compare(model, predictions, temperatures), "plot": None}
    if importlib.util.find_spec("matplotlib") is None:
        logging.info("no plot of the policies: pip install 'ds_keras[report]' for it")
        return figures
    from ds_keras.report import policies_png

    write_bytes(directory / zoo.PLOT, policies_png(model, predictions, temperatures, run.experiment.name))
    return {**figures, "plot": zoo.PLOT}
