"""Writes ``golden_digits.json``: logits of the shipped digits preset, which a fresh process has to repeat.

Run it again, and commit the result, whenever the preset's weights change:

    python tests/zoo/make_golden.py
"""

import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from ds_keras import data, policies, zoo
from ds_keras.routing import execute as routing

NAME = "ds_mobilenet_digits"
PATH = Path(__file__).with_name("golden_digits.json")


def clear(model, images):
    """Indices of images that the default policy does not route by a hair."""
    if model.default_policy == "cascade":
        sure = policies.margin(routing.predict_levels(model, images))[list(model.cascade[:-1])]
        thresholds = model.cascade_thresholds.numpy()[: len(sure)]
        margin = np.abs(sure - thresholds[:, None]).min(0)
    elif model.default_policy == "gate":
        ordered = np.sort(np.asarray(model.route(images)), axis=1)
        margin = ordered[:, -1] - ordered[:, -2]
    else:
        margin = np.ones(len(images))
    return np.flatnonzero(margin > 0.01)


def main():
    """Takes two images of each level that the policy uses, and two more."""
    model = zoo.load(NAME)
    images = data.digits()["test"].images()
    images = images[clear(model, images)]
    routed = model.predict_routed(images)
    chosen = [i for level in np.unique(routed.levels) for i in np.flatnonzero(routed.levels == level)[:2]]
    chosen = sorted({*chosen, 0, 1})
    golden = {
        "command": "python tests/zoo/make_golden.py",
        "weights": zoo.card(NAME)["sha256"][zoo.WEIGHTS],
        "images": images[chosen].astype("float64").round(4).tolist(),
        "levels": np.round(routing.predict_levels(model, images[chosen]).astype("float64"), 5).tolist(),
        "routed": routed.levels[chosen].tolist(),
    }
    PATH.write_text(json.dumps(golden) + "\n")
    print(f"{PATH}: {len(chosen)} images, weights {golden['weights'][:12]}")


if __name__ == "__main__":
    main()
