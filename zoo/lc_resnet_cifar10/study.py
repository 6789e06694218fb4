"""What makes the decisions of an LC-ResNet worth something: short runs from a small level of ds_resnet_cifar10.

Variants change one thing of "plain" each; "all" has every one, and "constant" is "all" with decisions that see no
image. Prints a table: share of the whole network's multiply-adds, top-1 of the network, of the same units for all
images at the same cost ("fixed"), and with another image's decisions ("shuffled"), means over the seeds. A run of level
1 takes about 3 minutes on two quiet cores, one of level 0 a bit more than 1 (estimated from processor time). Runs that
are done are not repeated.

    python zoo/lc_resnet_cifar10/study.py --workdir=runs/lc_study --level=1 --seeds=0,1,2 \
        --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz

With --targets=0.35,0.5,0.65,0.8 the recipe "all" is trained towards each, as L-Net, C-Net and LC-Net, and "constant"
beside it; the lines are drawn into L-Net.png, C-Net.png and LC-Net.png, with the levels and the cascade of
ds_resnet_cifar10. Targets below what a network can reach are left out.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from absl import logging

from ds_keras import zoo
from ds_keras.core.files import write_bytes
from ds_keras.experiments import TrainingStage, read_experiment
from ds_keras.lcnet import from_level
from ds_keras.lcnet.experiments.compare import VALUES, compare
from ds_keras.lcnet.experiments.lines import png

FIRST = read_experiment(Path(__file__).parent / "experiment.py")
BATCH, RATE = 64, 1e-3  # small batches: short runs need steps
AUGMENT = (
    "flip,pad_crop:4,erase:0.25"  # as the supernet was trained: BatchNorm's statistics of plainer images cost points
)
MODEL = {"groups": 4, "always": 0, "scale": "relu1", "normalize": False}
TRAINER = {"target": 0.5, "label_smoothing": 0.05, "price_rate": 0.1}
ALL_MODEL = {**MODEL, "always": 1, "scale": "binary", "normalize": True, "gain": 400.0}
ALL = {"distill": 0.5, "balance": 0.1, "temperature": 0.25}
SLOW = RATE / 10  # of the network; the gain makes the predictors ten times as fast as in "plain": there are few steps
KINDS = {"L": {"groups": 0}, "C": {"layers": False}, "LC": {}}


def variant(level, images, epochs, model=None, rate=RATE, **trainer):
    """An experiment: MODEL and TRAINER with these changes."""
    options = {**MODEL, **(model or {})}
    anneal = images // BATCH * epochs * 6 // 10

    def network(classes, shape):
        return from_level(zoo.load("ds_resnet_cifar10"), level, name="lc_study", **options)

    return replace(
        FIRST,
        name="lc_study",
        model=network,
        train_images=images,
        calibration=(8, 500),
        stage1=TrainingStage(
            epochs, rate, "adam", BATCH, augment=AUGMENT, trainer={**TRAINER, "anneal": anneal, **trainer}
        ),
        stage2=None,
    )


def one_at_a_time(*size):
    """The variants of the table."""
    return {
        "plain": variant(*size),
        "first-blocks-run": variant(*size, {"always": 1}),
        "normalize": variant(*size, {"normalize": True}),
        "binary": variant(*size, {"scale": "binary"}),
        "noise": variant(*size, temperature=0.25),
        "balance": variant(*size, balance=0.1),
        "slow-network": variant(*size, {"gain": 400.0}, SLOW),
        "frozen-network": variant(*size, train_network=False),
        "distill": variant(*size, distill=0.5),
        "all": variant(*size, ALL_MODEL, SLOW, **ALL),
        "all-frozen": variant(*size, ALL_MODEL, SLOW, train_network=False, **ALL),
        "constant": variant(*size, {**ALL_MODEL, "constant": True}, SLOW, distill=0.5),
    }


def at_targets(size, targets):
    """The variants of the plots."""
    found = {}
    for kind, changes in KINDS.items():
        model = {**ALL_MODEL, **changes}
        for target in targets:
            if kind == "L" and target < 0.5:  # the first block of every stage runs
                continue
            found[f"{kind}-{target}"] = variant(*size, model, SLOW, **{**ALL, "target": target})
            constant = {**model, "constant": True}
            found[f"constant-{kind}-{target}"] = variant(*size, constant, SLOW, distill=0.5, target=target)
    return found


def main():
    """Reads the flags, trains, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=FIRST.data)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default="", help="names, with commas; default all")
    parser.add_argument("--targets", default="", help="shares of the multiply-adds, with commas: draws the lines")
    parser.add_argument("--max_steps", type=int)
    flags = parser.parse_args()
    logging.set_verbosity("info")
    size = (flags.level, flags.images, flags.epochs)
    targets = [float(target) for target in flags.targets.split(",") if target]
    variants = at_targets(size, targets) if targets else one_at_a_time(*size)
    chosen = [name for name in flags.variants.split(",") if name] or list(variants)
    variants = {name: replace(variants[name], data=flags.data) for name in chosen}
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    found = compare(variants, flags.workdir, seeds, flags.max_steps, " ".join(sys.argv), verbose=0)
    print("| variant | " + " | ".join(VALUES) + " | worth, sd |\n|" + "---|" * (len(VALUES) + 2))
    for row in found["rows"]:
        print(
            f"| {row['variant']} | " + " | ".join(f"{row[value]:.2f}" for value in VALUES) + f" | {row['worth_sd']} |"
        )
    for kind in sorted({row["kind"] for row in found["rows"]}) if targets else ():
        write_bytes(Path(flags.workdir) / f"{kind}.png", png(found["rows"], zoo.load("ds_resnet_cifar10"), kind))


if __name__ == "__main__":
    main()
