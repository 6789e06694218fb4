"""When a network knows which images need more of it: what a scale predictor can see, block by block.

An image needs more if the smallest level of a shipped supernet names another class than its label, and the largest
level the right one. What says so is compared by the area under the ROC curve (0.5: nothing, 1: all of it), on images
that no training saw:

- a linear layer on the channel means of what enters each block of the largest level: all that a predictor of LC-Net
  reads (logistic regression, five folds, so that no image is judged by a fit that saw it);
- the supernet's trained gate, which reads the shared start;
- how unsure the smallest level is of its answer (the margin of its two best classes), which a cascade reads.

Beside each stands what has been spent by then, as a share of the largest level's multiply-adds.

    python zoo/lc_resnet_cifar10/difficulty.py --preset=ds_resnet_cifar10 \
        --data=pack:DIRECTORY/cifar10_jpeg.npz+DIRECTORY/cifar10_lossless_train4000.npz
"""

import argparse

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ds_keras import data, zoo
from ds_keras.core.cost import madds
from ds_keras.lcnet import from_level
from ds_keras.lcnet.block import run_layers
from ds_keras.lcnet.skipping import in_full
from ds_keras.routing import routing_spec
from ds_keras.routing.replay import score

BATCH = 250


def seen(model, images):
    """The channel means of what enters each block, and of what the classifier reads: (count, channels) each."""

    @tf.function
    def means(x):
        x, found = run_layers([*model.border, *model.stem], model.rescale(x), False), []
        for block in model.blocks:
            found.append(tf.reduce_mean(x, (1, 2)))
            x = block(x, scales=None, how=in_full)
        return [*found, tf.reduce_mean(x, (1, 2))]

    parts = [means(images[i : i + BATCH].astype("float32")) for i in range(0, len(images), BATCH)]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def spent(model):
    """The multiply-adds of the network before each block, and of all, as shares."""
    rest, blocks = model.costs()
    classifier = model.stages[-1].width * model.num_classes
    each = [c.always + c.block + b.groups * c.group for b, c in zip(model.blocks, blocks, strict=True)]
    return (rest - classifier + np.cumsum([0, *each])) / model.madds


def linear(features, needs):
    """The area under the curve of a linear layer."""
    fit = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
    return roc_auc_score(needs, cross_val_predict(fit, features, needs, cv=5, method="decision_function"))


def read_flags():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="ds_resnet_cifar10")
    parser.add_argument("--data", default="pack:data/cifar10_jpeg.npz+data/cifar10_lossless_train4000.npz")
    return parser.parse_args()


def main():
    """Measures and prints."""
    flags = read_flags()
    supernet, test = zoo.load(flags.preset), data.load(flags.data)["test"]
    images, last = test.images(supernet.image_shape[:2]), len(supernet.levels) - 1
    predictions = score(supernet, images, test.labels)
    needs = predictions.correct[last] & ~predictions.correct[0]
    print(f"{flags.preset}: {len(images)} test images, {100 * needs.mean():.1f} % need more than level 0")
    model = from_level(supernet, last, groups=0, layers=False)
    names = [f"channel means before {block.name}" for block in model.blocks] + ["channel means before the classifier"]
    rows = [(n, s, linear(f, needs)) for n, s, f in zip(names, spent(model), seen(model, images), strict=True)]
    spec, whole = routing_spec(supernet), madds(supernet, last)
    gate = predictions.gate_logits[:, last] - predictions.gate_logits[:, 0]
    rows.append(("the gate's logits", (spec.start + spec.gate) / whole, roc_auc_score(needs, gate)))
    unsure = -predictions.confidence[0]
    rows.append(("the answer of level 0: its margin", madds(supernet, 0) / whole, roc_auc_score(needs, unsure)))
    print("| what is read | spent by then, % | area under the curve |\n|---|---|---|")
    for name, share, area in rows:
        print(f"| {name} | {100 * share:.1f} | {area:.3f} |")


if __name__ == "__main__":
    main()
