"""Names the classes of photos."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ds_keras.photos.checks import Shape
from ds_keras.photos.preprocessing import Preprocessing, listed, load_photo

BATCH = 64  # photos that are decoded and run at a time


@dataclass(frozen=True)
class Classification:
    """What a network says of one image.

    Args:
        labels: names of the most probable classes, the best first; their numbers where the network has no names.
        probabilities: of these classes.
        level: slice level that the image ended at; None of a network without levels.
        madds: multiply-adds that the image took.

    Example:
        >>> print(model.classify("cat.jpg")[0])
        tabby 81.3 %, lynx 11.0 %  (level 1, 5.25 MMAdds)
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    level: int | None
    madds: float

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.labels[0]

    @property
    def probability(self) -> float:
        """Probability of the most probable class."""
        return self.probabilities[0]

    def __str__(self) -> str:
        classes = ", ".join(f"{k} {100 * p:.1f} %" for k, p in zip(self.labels, self.probabilities, strict=True))
        level = "" if self.level is None else f"level {self.level}, "
        return f"{classes}  ({level}{self.madds / 1e6:.2f} MMAdds)"


def classify(
    photos: Any, run: Callable, shape: Shape, preprocessing: Preprocessing, labels: list[str] | None, top: int
) -> list[Classification]:
    """Decodes photos, runs them in batches, and names their classes.

    Args:
        photos: one photo or several, see ``load_photo``; several are a list, or an array of four axes.
        run: images (count, height, width, channels) to (logits, levels or None, madds).
        shape: (height, width, channels) of the images.
        preprocessing: of the network.
        labels: class names, or None.
        top: classes to name, at most.

    Returns:
        A ``Classification`` for each photo.

    Raises:
        ValueError: bad ``top``, or a photo that cannot be read; those of ``run``.
    """
    if not isinstance(top, int | np.integer) or isinstance(top, bool) or top < 1:
        raise ValueError(f"top must be a positive integer, received {top!r}")
    photos = listed(photos)
    found: list[Classification] = []
    for i in range(0, len(photos), BATCH):
        images = np.stack([load_photo(photo, shape, preprocessing) for photo in photos[i : i + BATCH]])
        logits, levels, madds = run(images)
        for k, row in enumerate(np.asarray(logits, "float64")):
            exponents = np.exp(row - row.max())
            best = np.argsort(-row, kind="stable")[:top]
            names = tuple(str(n) if labels is None else labels[n] for n in best)
            level = None if levels is None else int(levels[k])
            probabilities = tuple((exponents[best] / exponents.sum()).tolist())
            found.append(Classification(names, probabilities, level, float(madds[k])))
    return found
