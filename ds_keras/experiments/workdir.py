"""A run's directory belongs to one experiment."""

import json
import os
from pathlib import Path

from ds_keras.core.files import check_output, read_json, shown, write_json
from ds_keras.core.image_model import ImageModel
from ds_keras.experiments.config import Experiment

FILES, FOLDERS = ("experiment.json", "metrics.jsonl"), ("stage1", "stage2", "preset", "tensorboard")


def claim(workdir: Path, experiment: Experiment, model: ImageModel) -> None:
    """Marks a directory as an experiment's.

    Args:
        workdir: of the run.
        experiment: that it runs.
        model: that it trains.

    Raises:
        ValueError: the directory belongs to another experiment, or something stands where the run writes: a folder
            instead of a file, a file or a pipe instead of a folder.
    """
    for name in (*FILES, *FOLDERS):
        path = workdir / name
        try:
            check_output(path, file=name in FILES)
            if name in FOLDERS and os.path.lexists(path) and not os.path.isdir(path):
                raise ValueError("it is no directory")
        except (OSError, ValueError) as error:
            raise ValueError(f"workdir: cannot write to {shown(path)}: {error}") from None
    data = ("name", "data", "seed", "held_out", "train_images", "image_size")
    names = (*data, "precision", "calibration", "head_images", "order_images")
    record = {name: getattr(experiment, name) for name in names}
    record |= {"stage1": repr(experiment.stage1), "stage2": repr(experiment.stage2)}
    record["model"] = {**model.get_config(), "name": None}  # Keras numbers the names that are not given
    del record["model"]["preprocessing"]  # of photos: no part of training
    record = json.loads(json.dumps(record))
    path = workdir / "experiment.json"
    if path.exists() and read_json(path) != record:
        raise ValueError(f"workdir {str(workdir)!r} holds another experiment ({path}); give an empty directory")
    write_json(path, record)
