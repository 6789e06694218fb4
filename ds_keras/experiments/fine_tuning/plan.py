"""The recipe, from the number of photos, the minutes and the measured speed of this machine; and the plan in words."""

import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ds_keras.core import cost
from ds_keras.core.timing import cores
from ds_keras.experiments.fine_tuning.photos import Photos
from ds_keras.models.supernet import Supernet
from ds_keras.training.folded import Folded

BATCH, SMALLEST_BATCH = 96, 16
HEAD_BATCH = 150  # images at a time of the head and of the calibration
HEAD_PHOTOS = 3000  # at most: the features of all levels are kept
VIEW = 0.75  # side of the training views over that of the images (arXiv 1906.06423), for images of some size
VIEW_STEP = 32  # pixels that it is a multiple of
LEAST_SHARE = 0.25
FEWEST_STEPS = 20  # of the network; a stage with fewer is left out
# Seconds of a phase that do not depend on the photos, over those of tracing the largest level once; the ending took 38
# on 128 px and 45 on digits
HEAD_TRACES, STEP_TRACES, END_TRACES = 8.0, 14.0, 45.0
TRAINING, STATISTICS = 4.5, 1.5  # a training pass, and one that measures statistics, over a plain forward pass


class Speed(NamedTuple):
    """What one pass at the largest level takes here, in seconds: to trace it, and to run one training view."""

    trace: float
    view: float


class Recipe(NamedTuple):
    """How a network is tuned.

    Args:
        view: (height, width) of the training views.
        batch: views a step.
        shares: of the batch that each level's pass sees.
        frozen: whether the shared start stays as it is; a teacher that is wider in the start needs it to move.
        calibration: (batches, batch size) for the statistics.
        reading: seconds that reading the photos took.
        head: seconds for the head.
        network: seconds for the network; 0 leaves it as it is.
        ending: seconds for calibration, figures, preset, report and bundle.
        steps: of the network, about.
    """

    view: tuple[int, int]
    batch: int
    shares: tuple[float, ...]
    frozen: bool
    calibration: tuple[int, int]
    reading: float
    head: float
    network: float
    ending: float
    steps: int


def view_size(model: Supernet) -> tuple[int, int]:
    """Pixels of the training views: three quarters of the images' where the network takes such, else the same."""
    height, width = model.image_shape[:2]
    if getattr(model, "strides", None) is None or min(height, width) * VIEW < 2 * VIEW_STEP:
        return height, width
    first, second = (max(round(VIEW * side / VIEW_STEP), 1) * VIEW_STEP for side in (height, width))
    return first, second


def measure(model: Supernet, view: tuple[int, int], count: int = 32, rounds: int = 3) -> Speed:
    """Times the largest level.

    Args:
        model: supernet, built.
        view: (height, width) of the images.
        count: of images in a pass.
        rounds: passes of each of two graphs. The fastest pass and the faster trace count: other programs may take the
            processor for a moment.

    Returns:
        ``Speed``.
    """
    x = tf.zeros([count, *view, model.image_shape[2]])
    firsts, others = [], []
    for _ in range(2):
        run = tf.function(lambda x: model.logits(Folded(len(model.levels) - 1), x), autograph=False)
        seconds = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            run(x)[0, 0].numpy()
            seconds.append(time.perf_counter() - began)
        firsts.append(seconds[0])
        others += seconds[1:]
    return Speed(min(firsts) - min(others), min(others) / count)


def recipe(model: Supernet, photos: Photos, speed: Speed, minutes: float, reading: float) -> Recipe:
    """Chooses the sizes of everything, and divides the time.

    Args:
        model: supernet to tune.
        photos: the parts.
        speed: of ``measure`` at ``view_size``.
        minutes: in all.
        reading: seconds that are spent already.

    Returns:
        The recipe.
    """
    count, view = len(photos.train), view_size(model)
    costs = np.array([cost.madds(model, level.index) for level in model.levels], float)
    shares = tuple(float(share) for share in np.clip(costs[0] / costs, LEAST_SHARE, 1).round(2))
    batch = min(BATCH, max(SMALLEST_BATCH, count // 8), count)

    image = speed.view * np.prod(model.image_shape[:2]) / np.prod(view)  # seconds of a forward pass at full size
    passes = costs.sum() / costs[-1]  # of all levels, in passes of the largest
    seen = min(count, HEAD_PHOTOS)
    held = len(photos.held_out) + len(photos.test or ())
    head = HEAD_TRACES * speed.trace + (STATISTICS + 1) * passes * image * seen
    ending = END_TRACES * speed.trace + image * (STATISTICS * passes * seen + 8 * held)
    trained = TRAINING * float((np.array(shares) * costs).sum() / costs[-1])
    step = speed.view * batch * (1 + trained)  # the moving average looks at all views
    network = 60 * minutes - reading - head - ending
    steps = int((network - STEP_TRACES * speed.trace) / step)
    if steps < FEWEST_STEPS:
        network, steps = 0.0, 0
    calibration = (max(seen // HEAD_BATCH, 1), min(HEAD_BATCH, count))
    frozen = model.teacher_level.index < len(costs)
    return Recipe(view, batch, shares, frozen, calibration, reading, head, network, ending, steps)


def in_words(model: Supernet, photos: Photos, speed: Speed, chosen: Recipe, minutes: float, start: str) -> str:
    """The plan, for the user, before anything is trained.

    Args:
        model: supernet to tune.
        photos: the parts.
        speed: of the machine.
        chosen: the recipe.
        minutes: asked.
        start: what the network comes from.

    Returns:
        Some lines.
    """
    (height, width, _), train = model.image_shape, len(photos.train)
    total = (chosen.reading + chosen.head + chosen.network + chosen.ending) / 60
    tested = "they give the figures too" if photos.test is None else f"{len(photos.test)} to test"
    held_out = f"{len(photos.held_out)} held out to choose the policy, {tested}"
    network = "left as it is: there is no time for it"
    if chosen.steps:
        views = " / ".join(f"{chosen.steps * chosen.batch * share / train:.0f}" for share in chosen.shares)
        network = (
            f"{chosen.network / 60:.1f} min, about {chosen.steps} steps of {chosen.batch} views of "
            f"{chosen.view[0]}x{chosen.view[1]}; views of each photo at levels 0 to {len(chosen.shares) - 1}: {views}"
        )
    rows = {
        "start": f"{start}, {len(model.levels)} levels, images {height}x{width}, new classifier of {model.num_classes}",
        "photos": f"{train} to learn from, {held_out}",
        "machine": f"{cores()}, {1000 * speed.view:.1f} ms for a view at the largest level",
        "reading": f"{chosen.reading / 60:.1f} min, done",
        "head": f"{chosen.head / 60:.1f} min, statistics and classifier of every level, network as it is",
        "network": network,
        "ending": f"{chosen.ending / 60:.1f} min, calibration, figures, preset, report, bundle",
    }
    longer = f" ({minutes:g} are too few)" if total > minutes * 1.02 else ""
    return "\n".join(
        [f"plan: about {total:.1f} minutes{longer}", *(f"  {name:8} {text}" for name, text in rows.items())]
    )
