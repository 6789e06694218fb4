"""Boxes in NumPy: overlaps, the choice among many boxes of one thing, and drawing them on a photo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.photos.decode import File, opened, pillow
from ds_keras.photos.preprocessing import read_photo

if TYPE_CHECKING:
    from PIL import Image

SHOWN, IOU, MOST = 0.3, 0.5, 100  # defaults: smallest score that is shown, overlap of one thing, boxes of a photo
CANDIDATES = 500  # of the best scores of a class, from which the boxes are chosen
OF_ALL = 50_000  # of the best scores of all classes together, where there are so many classes
_ORIENTATION = 0x0112  # EXIF tag
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")


@dataclass(frozen=True)
class Detections:
    """What was found on one image, the surest first.

    Args:
        boxes: (count, 4) float32: x_min, y_min, x_max, y_max as fractions of the image's width and height.
        scores: (count,) float32 in [0, 1].
        classes: (count,) int32.
        labels: class names, or None.

    Example:
        >>> for box, score, name in zip(found.boxes, found.scores, found.names): ...
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """Name of each box's class; its number where the classes have no names."""
        return [str(k) if self.labels is None else self.labels[k] for k in self.classes]


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair of boxes.

    Args:
        first: (m, 4) boxes.
        second: (n, 4) boxes.

    Returns:
        (m, n) in [0, 1].
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    area_first, area_second = (np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), axis=-1) for b in (first, second))
    return common / np.maximum(area_first[:, None] + area_second[None] - common, 1e-12)


def check_choice(threshold: float, iou: float, most: int) -> None:
    """Refuses arguments of ``choose`` that make no sense.

    Raises:
        ValueError: names the argument.
    """
    for name, value in {"threshold": threshold, "iou": iou}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], received {value!r}")
    if not isinstance(most, int | np.integer) or most < 1:
        raise ValueError(f"most must be a positive integer, received {most!r}")


def choose(
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float = SHOWN,
    iou: float = IOU,
    most: int = MOST,
    labels: Sequence[str] | None = None,
) -> Detections:
    """Non-maximum suppression: of boxes of one class that overlap, the surest stays.

    Args:
        boxes: (locations, 4).
        scores: (locations, classes) in [0, 1].
        threshold: smallest score of a box that is kept.
        iou: boxes of a class overlap where their intersection over union is larger.
        most: boxes to keep.
        labels: class names.

    Returns:
        The boxes, those of all classes together.

    Example:
        >>> choose(boxes, scores, threshold=0.5)
    """
    check_choice(threshold, iou, most)
    each = max(1, min(CANDIDATES, OF_ALL // scores.shape[1]))
    usable = np.isfinite(boxes).all(axis=1)
    places = []
    for k in range(scores.shape[1]):
        candidates = np.flatnonzero(usable & (scores[:, k] >= threshold))
        places.append(candidates[np.argsort(-scores[candidates, k], kind="stable")][:each])
    rows, classes = np.concatenate(places), np.repeat(np.arange(len(places)), [len(one) for one in places])
    order = np.argsort(-scores[rows, classes], kind="stable")
    rows, classes = rows[order], classes[order]
    kept = _survivors(boxes[rows], classes, iou, most)
    rows, classes = rows[kept], classes[kept]
    named = None if labels is None else tuple(labels)
    whole = np.clip(boxes[rows], 0, 1).astype("float32")
    return Detections(whole, scores[rows, classes].astype("float32"), classes.astype("int32"), named)


def _survivors(boxes: np.ndarray, classes: np.ndarray, iou: float, most: int) -> list[int]:
    """Positions of the boxes that no surer one of their class covers, of boxes that are sorted by their score.

    The numbers of ``overlaps``, computed for the boxes that are kept only.
    """
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    areas = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    alive, kept = np.ones(len(boxes), bool), list[int]()
    for i in range(len(boxes)):
        if alive[i]:
            kept.append(i)
            if len(kept) == most:
                break
            width = np.minimum(right[i], right[i:]) - np.maximum(left[i], left[i:])
            height = np.minimum(bottom[i], bottom[i:]) - np.maximum(top[i], top[i:])
            common = np.maximum(width, 0) * np.maximum(height, 0)
            covered = common / np.maximum(areas[i] + areas[i:] - common, 1e-12) > iou
            alive[i:] &= ~(covered & (classes[i:] == classes[i]))
    return kept


def stretched(photo: Any, shape: Sequence[int]) -> np.ndarray:
    """One photo of any size as an image of the network's size: all of it, its sides scaled apart.

    Args:
        photo: path, encoded file, PIL image or array, see ``ds_keras.photos.load_photo``.
        shape: (height, width, channels).

    Returns:
        (height, width, channels) uint8.

    Raises:
        ValueError: it cannot be decoded, or is no such array.
    """
    height, width, channels = shape
    array = np.clip(np.rint(read_photo(photo, channels)), 0, 255).astype(np.uint8)
    if array.shape[:2] == (height, width):
        return array
    image_module, _ = pillow()
    image = image_module.fromarray(array[..., 0] if channels == 1 else array)
    resized = image.resize((width, height), image_module.Resampling.BILINEAR)
    return np.asarray(resized).reshape(height, width, channels)


def image_size(file: File) -> tuple[int, int]:
    """(width, height) of an image file, upright: what a file of boxes says of it may be wrong.

    Raises:
        ValueError: it cannot be opened.
    """
    with opened(file) as image:
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return (image.height, image.width) if turned else (image.width, image.height)


def draw(photo: Any, found: Detections) -> "Image.Image":
    """A photo with the boxes that were found on it.

    Args:
        photo: as ``stretched`` takes it.
        found: what was found there.

    Returns:
        PIL image in RGB, of the photo's size.

    Raises:
        ValueError: the photo cannot be decoded.

    Example:
        >>> draw("photo.jpg", model.detect("photo.jpg")[0]).save("boxes.png")
    """
    from PIL import ImageDraw

    image_module, _ = pillow()
    image = image_module.fromarray(np.clip(np.rint(read_photo(photo, 3)), 0, 255).astype(np.uint8))
    pen, line = ImageDraw.Draw(image), max(1, min(image.size) // 200)
    for box, score, k, name in reversed(list(zip(found.boxes, found.scores, found.classes, found.names, strict=True))):
        colour = COLOURS[k % len(COLOURS)]
        x0, y0, x1, y1 = (box * np.tile(image.size, 2)).tolist()
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=line)
        text = f"{name} {100 * score:.0f}"
        place = pen.textbbox((x0 + line, y0 + line), text)
        pen.rectangle(place, fill=colour)
        pen.text((x0 + line, y0 + line), text, fill="white")
    return image
