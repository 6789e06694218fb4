"""Augmentation recipes as short strings: "flip,pad_crop:4,erase:0.25"."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from ds_keras.data.augment import basic as augment
from ds_keras.data.augment.trivial import rand_augment, trivial_augment

MAX_WHOLE = 4096  # pixels that an image is moved by, or operations in a row

Operation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
FORMS = (
    "rrc[:smallest area[:largest area]]",
    "flip[:probability]",
    "pad_crop:pixels",
    "shift:pixels",
    "trivial",
    "rand:operations:magnitude",
    "erase[:probability[:smallest area[:largest area]]]",
)


@dataclass(frozen=True)
class Recipe:
    """A sequence of batch operations, each with a seed of its own.

    Args:
        spec: the string it was made from.
        operations: f(images, seed) -> images, in order.
        crop_area: smallest and largest area of the random resized crop that comes first, or None for no such crop.

    Example:
        >>> images = augmentation("flip,pad_crop:4")(images, seed=tf.constant([0, 1]))
    """

    spec: str = ""
    operations: tuple[Operation, ...] = ()
    crop_area: tuple[float, float] | None = None

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Applies the operations, all but the random resized crop, which needs a size (see ``batches``).

        Args:
            images: (batch, height, width, channels) in [0, 255].
            seed: (2,) integers.

        Returns:
            float32 images of the same shape.
        """
        images = tf.cast(images, tf.float32)
        for k, operation in enumerate(self.operations):
            images = operation(images, tf.random.fold_in(seed, k))
        return images


def augmentation(spec: str | None) -> Recipe:
    """Reads a recipe: operations by name, separated by commas, numbers after colons.

    Args:
        spec: for example "flip,pad_crop:4,trivial,erase:0.25"; None or "" for nothing.

    Returns:
        The recipe.

    Raises:
        ValueError: unknown operation, or numbers that are wrong for it; the message lists what is allowed.

    Example:
        >>> augmentation("rrc:0.35,flip,erase")
    """
    operations, crop_area = [], None
    for position, part in enumerate(filter(None, (spec or "").split(","))):
        name, *words = part.strip().split(":")
        try:
            numbers = [float(word) for word in words]
            if name == "rrc" and position == 0 and len(numbers) <= 2:
                crop_area = _area(numbers, (0.25, 1.0))
            else:
                operations.append(_operation(name, numbers))
        except (TypeError, ValueError, KeyError):
            raise ValueError(
                f"augmentation {part.strip()!r} in {spec!r} is not allowed: use {', '.join(FORMS)}; rrc comes first, "
                "probabilities are in [0, 1], areas in (0, 1], pixels and operations are whole numbers, "
                "magnitude is in [0, 10]"
            ) from None
    return Recipe(spec or "", tuple(operations), crop_area)


def _operation(name: str, numbers: list[float]) -> Operation:
    makers: dict[str, Callable[..., Operation]] = {
        "flip": _flip,
        "pad_crop": _pad_crop,
        "shift": _shift,
        "trivial": _trivial,
        "rand": _rand,
        "erase": _erase,
    }
    return makers[name](*numbers)


def _flip(probability: float = 0.5) -> Operation:
    probability = _within(probability, 0, 1)
    return lambda images, seed: augment.flip(images, seed, probability)


def _pad_crop(pixels: float) -> Operation:
    pixels = _whole(pixels, 0)
    return lambda images, seed: augment.pad_crop(images, seed, pixels)


def _shift(pixels: float) -> Operation:
    pixels = _whole(pixels, 0)
    return lambda images, seed: augment.shift(images, seed, pixels)


def _trivial() -> Operation:
    return trivial_augment


def _rand(count: float, magnitude: float) -> Operation:
    count, magnitude = _whole(count, 1), _within(magnitude, 0, 10)
    return lambda images, seed: rand_augment(images, seed, count, magnitude)


def _erase(probability: float = 0.25, *area: float) -> Operation:
    probability, area = _within(probability, 0, 1), _area(list(area), (0.02, 1 / 3))
    return lambda images, seed: augment.random_erasing(images, seed, probability, area)


def _area(numbers: list[float], default: tuple[float, float]) -> tuple[float, float]:
    low, high = (*numbers, *default[len(numbers) :])
    if not 0 < low <= high <= 1:
        raise ValueError
    return low, high


def _within(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError
    return value


def _whole(value: float, low: int) -> int:
    if not value.is_integer() or not low <= value <= MAX_WHOLE:
        raise ValueError
    return int(value)
