"""What the decisions of an LC-ResNet are worth: short runs from a level of a shipped ResNet, on its data.

The level is trained towards shares of its multiply-adds ("targets") in three kinds: L-Net skips blocks, C-Net groups of
channels, LC-Net both. Beside each network stand a "constant" one, trained alike, whose predictors read no image: all
images run the same units; and a "frozen" one, of which the predictors alone are trained: the level keeps the weights
that it shares with the other levels.

Prints a table with a row for each kind and target, means over the seeds, scored on the held-out images: the share of
the whole network's multiply-adds that was spent; top-1 of the network ("dynamic"), of the same network where all images
run the same units at the same cost ("fixed"), and where each image runs with another one's decisions ("shuffled");
"worth" is dynamic - fixed, beside its standard deviation over the seeds. Draws the rows over the cost into L-Net.png,
C-Net.png and LC-Net.png in the workdir, with the levels and the cascade of the supernet. Runs that are done are not
repeated.

As it stands, a run takes about a minute on two quiet cores (AVX-512).

    python zoo/lc_resnet_cifar10/study.py --workdir=runs/lc_study --seeds=0,1,2 \
        --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

import argparse
import sys
from pathlib import Path

from absl import logging

from ds_keras import zoo
from ds_keras.core.files import write_bytes
from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.lcnet import from_level
from ds_keras.lcnet.experiments.compare import VALUES, compare
from ds_keras.lcnet.experiments.lines import png

KINDS = {"L": {"groups": 0}, "C": {"layers": False}, "LC": {}}
MODEL = {"groups": 4, "always": 0}
TRAINER = {"label_smoothing": 0.05, "price_rate": 0.1}
BATCH = 64  # small batches: short runs need steps
RECIPES = {  # augmented as the supernet was: BatchNorm's statistics of plainer images cost points
    "ds_resnet_cifar10": {"augment": "flip,pad_crop:4,erase:0.25", "held_out": 5000, "calibration": (8, 500)},
    "ds_resnet_imagenette": {
        "augment": "rrc:0.3,flip",
        "image_size": (96, 96),  # of the training views
        "held_out": 500,
        "calibration": (20, 200),
    },
}


def variant(flags, target, train_network=True, **changes):
    """A network with these changes of MODEL, trained towards a target."""
    anneal = flags.images // BATCH * flags.epochs * 6 // 10

    def network(classes, shape):
        return from_level(zoo.load(flags.preset), flags.level, name="lc_study", **{**MODEL, **changes})

    recipe = RECIPES[flags.preset]
    options = {"augment": recipe["augment"], "image_size": recipe.get("image_size")}
    trainer = {**TRAINER, "target": target, "anneal": anneal, "train_network": train_network}
    return Experiment(
        name="lc_study",
        data=flags.data,
        model=network,
        stage1=TrainingStage(flags.epochs, flags.rate, "adam", BATCH, trainer=trainer, **options),
        stage2=None,
        held_out=recipe["held_out"],
        train_images=flags.images,
        calibration=recipe["calibration"],
        precision=flags.precision,
    )


def read_flags():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="pack:data/cifar10_jpeg.npz+data/cifar10_lossless_train4000.npz")
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--preset", default="ds_resnet_cifar10", choices=tuple(RECIPES), help="where they start")
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-3, help="peak of the learning rate")
    parser.add_argument("--precision", default="float32", help="Keras dtype policy")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--targets", default="0.5,0.7,0.85", help="shares of the multiply-adds, with commas")
    parser.add_argument("--variants", default="", help="names, as L-0.5 or constant-L-0.5, with commas; default all")
    parser.add_argument("--max_steps", type=int)
    return parser.parse_args()


def main():
    """Trains, prints and draws."""
    flags = read_flags()
    logging.set_verbosity("info")
    variants = {}
    for kind, changes in KINDS.items():
        for target in map(float, flags.targets.split(",")):
            variants[f"{kind}-{target}"] = variant(flags, target, **changes)
            variants[f"constant-{kind}-{target}"] = variant(flags, target, constant=True, **changes)
            variants[f"frozen-{kind}-{target}"] = variant(flags, target, train_network=False, **changes)
    chosen = [name for name in flags.variants.split(",") if name] or list(variants)
    if unknown := [name for name in chosen if name not in variants]:
        sys.exit(f"--variants must be among {', '.join(variants)}, received {', '.join(unknown)}")
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    variants = {name: variants[name] for name in chosen}
    rows = compare(variants, flags.workdir, seeds, flags.max_steps, " ".join(sys.argv), verbose=0)["rows"]
    print("| variant | " + " | ".join(VALUES) + " | worth, sd |\n|" + "---|" * (len(VALUES) + 2))
    for row in rows:
        values = [f"{row[value]:.2f}" for value in VALUES]
        print("| " + " | ".join([row["variant"], *values, str(row["worth_sd"])]) + " |")
    for kind in sorted({row["kind"] for row in rows}):
        write_bytes(Path(flags.workdir) / f"{kind}.png", png(rows, zoo.load(flags.preset), kind))


if __name__ == "__main__":
    main()
