"""What the decisions of an LC-ResNet are worth: runs from a level of a shipped ResNet, on its data.

First the level learns to do with any part of itself: every image runs blocks and groups of channels that are drawn at
random (``keep``). Then its weights stay, and predictors alone are trained towards shares of the multiply-adds
("targets"), in three kinds: L-Net skips blocks, C-Net groups of channels, LC-Net both. Beside each stands a "constant"
one, whose predictors read no image: all images run the same units. So everything that is compared has the same weights,
and only the decisions differ.

Prints a table with a row for each kind and target, means over the seeds of the predictors, scored on the held-out
images: the share of the whole network's multiply-adds that was spent; top-1 of the network ("dynamic"), of the same
network where all images run the units that most of them chose, at the same cost ("fixed"), and where each image runs
with another one's decisions ("shuffled"); "worth" is dynamic - fixed, beside its standard deviation over the seeds;
"static" and "cascade" are the levels and the cascade of the supernet at the same cost, from its budget table.
Draws the rows over the cost into L-Net.png, C-Net.png and LC-Net.png in the workdir, with the levels and the cascade of
the supernet. Runs that are done are not repeated.

    python zoo/lc_resnet_cifar10/study.py --workdir=runs/lc_study --seeds=0,1 --precision=mixed_bfloat16 \
        --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from absl import logging

from ds_keras import zoo
from ds_keras.core.files import write_bytes
from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.lcnet import from_level
from ds_keras.lcnet.experiments.compare import VALUES, compare
from ds_keras.lcnet.experiments.lines import lines, png

KINDS = {"L": {"groups": 0}, "C": {"layers": False}, "LC": {}}
MODEL = {"groups": 4, "always": 0, "name": "lc_study"}
RECIPES = {  # augmented as the supernet was: BatchNorm's statistics of plainer images cost points
    "ds_resnet_cifar10": {
        "augment": "flip,pad_crop:4,erase:0.25",
        "held_out": 5000,
        "calibration": (8, 500),
        "predictors": (1, 30000),  # epochs, images of each
    },
    "ds_resnet_imagenette": {
        "augment": "rrc:0.3,flip",
        "image_size": (96, 96),  # of the training views
        "held_out": 500,
        "calibration": (20, 200),
        "predictors": (2, 8900),
    },
}


def experiment(flags, model, epochs, rate, batch, trainer, images=None):
    """One stage on the preset's data."""
    recipe = RECIPES[flags.preset]
    options = {"augment": recipe["augment"], "image_size": recipe.get("image_size")}
    stage = TrainingStage(epochs, rate, "adam", batch, trainer={"label_smoothing": 0.05, **trainer}, **options)
    given = {name: recipe[name] for name in ("held_out", "calibration")}
    given |= {"precision": flags.precision, "train_images": images}
    return Experiment("lc_study", flags.data, model, stage, None, **given)


def whole(flags, **changes):
    """The network that learns to do with any part of itself."""

    def network(classes, shape):
        return from_level(zoo.load(flags.preset), flags.level, **{**MODEL, **changes})

    return experiment(flags, network, flags.epochs, flags.rate, 128, {"target": None, "keep": flags.keep})


def variant(flags, trained, target, **changes):
    """Predictors on the trained network."""

    def network(classes, shape):
        model = from_level(zoo.load(flags.preset), flags.level, **{**MODEL, **changes})
        weights = {v.path: v for v in zoo.load(trained).weights}
        own = {id(v) for v in model.predictors}
        for v in model.weights:
            if id(v) not in own:
                v.assign(weights[v.path])
        return model

    epochs, images = RECIPES[flags.preset]["predictors"]
    anneal = images // 64 * epochs * 6 // 10
    trainer = {"target": target, "train_network": False, "price_rate": 0.1, "anneal": anneal}
    return experiment(flags, network, epochs, 3e-3, 64, trainer, images)


def read_flags():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="pack:data/cifar10_jpeg.npz+data/cifar10_lossless_train4000.npz")
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--preset", default="ds_resnet_cifar10", choices=tuple(RECIPES), help="where they start")
    parser.add_argument("--level", type=int, default=3)
    parser.add_argument("--keep", type=float, default=0.5, help="least share of the units that run while it learns")
    parser.add_argument("--epochs", type=int, default=8, help="of the network")
    parser.add_argument("--rate", type=float, default=5e-4, help="of the network: peak of the learning rate")
    parser.add_argument("--precision", default="float32", help="Keras dtype policy")
    parser.add_argument("--seeds", default="0,1", help="of the predictors, with commas")
    parser.add_argument("--kinds", default="L,C,LC", help="with commas")
    parser.add_argument("--targets", default="0.35,0.65", help="shares of the multiply-adds, with commas")
    return parser.parse_args()


def main():
    """Trains, prints and draws."""
    flags = read_flags()
    logging.set_verbosity("info")
    command, workdir, kinds = " ".join(sys.argv), Path(flags.workdir), flags.kinds.split(",")
    own = KINDS[kinds[0]] if len(kinds) == 1 else {}  # one kind's network learns to skip what it will skip
    compare({"whole": whole(flags, **own)}, workdir / "whole", (0,), None, command, verbose=0)
    trained, variants = workdir / "whole" / "whole-0" / "network", {}
    for kind in kinds:
        for target in map(float, flags.targets.split(",")):
            changes = KINDS[kind]
            variants[f"{kind}-{target}"] = variant(flags, trained, target, **changes)
            variants[f"constant-{kind}-{target}"] = variant(flags, trained, target, constant=True, **changes)
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    rows = compare(variants, workdir, seeds, None, command, verbose=0)["rows"]
    supernet = zoo.load(flags.preset)
    print("| variant | " + " | ".join(VALUES) + " | worth, sd | static | cascade |\n|" + "---|" * (len(VALUES) + 4))
    for row in rows:
        values, found = [f"{row[value]:.2f}" for value in VALUES], lines(rows, supernet, row["kind"])
        cost = row["share"] / 100 * row["madds"] / 1e6
        others = [f"{np.interp(cost, found[name].cost, found[name].top1):.2f}" for name in ("static", "cascade")]
        print("| " + " | ".join([row["variant"], *values, str(row["worth_sd"]), *others]) + " |")
    for kind in sorted({row["kind"] for row in rows}):
        write_bytes(workdir / f"{kind}.png", png(rows, supernet, kind))


if __name__ == "__main__":
    main()
