"""How a photo becomes an image of a network's size."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ds_keras.photos.checks import Shape, check_values
from ds_keras.photos.decode import from_16_bits, opened, pillow, to_array

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """How a photo becomes an image of the network's size: scaled, then cropped in the centre.

    Args:
        crop_fraction: share of the tighter side that the crop keeps, in (0, 1]; 1 keeps all of it.
        interpolation: "bilinear" or "bicubic", both with antialiasing.

    Raises:
        ValueError: another value.

    Example:
        >>> model.preprocessing = Preprocessing(crop_fraction=0.875, interpolation="bicubic")
    """

    crop_fraction: float = 1.0
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if type(self.crop_fraction) not in (int, float) or not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction must be in (0, 1], received {self.crop_fraction!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {INTERPOLATIONS}, received {self.interpolation!r}")

    @classmethod
    def from_json(cls, value: Any) -> "Preprocessing":
        """What ``to_json`` gave; the default for None, of files that were written before there was an entry.

        Raises:
            ValueError: anything else.
        """
        if value is None or isinstance(value, cls):
            return cls() if value is None else value
        if not isinstance(value, Mapping) or not set(value) <= {"crop_fraction", "interpolation"}:
            raise ValueError(f"preprocessing must have crop_fraction and interpolation, received {value!r}")
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def load_photo(photo: Any, shape: Shape, preprocessing: Preprocessing) -> np.ndarray:
    """One photo as an image of the network's size.

    Scaled as ``ds_keras.data.resize_and_crop`` does, which evaluation uses, but by Pillow in floats: fewer than one
    value in a thousand differs from TensorFlow's, by 1 of 255.

    Args:
        photo: path, encoded file (bytes), PIL image, or array (height, width) or (height, width, channels): uint8, 16
            bit, or numbers in [0, 255]. Two and four channels have transparency last, which is laid over white.
        shape: (height, width, channels) of the result.
        preprocessing: of the network.

    Returns:
        uint8; an array of numbers that has the shape stays as it is.

    Raises:
        ValueError: it cannot be decoded, or is no such array.
        ImportError: Pillow is needed and missing.
    """
    return resize_and_crop(read_photo(photo, shape[2]), (shape[0], shape[1]), preprocessing)


def listed(photos: Any) -> list[Any]:
    """One photo or several as a list: several are a list or a tuple, or an array of four axes."""
    several = isinstance(photos, list | tuple) or getattr(photos, "ndim", 0) == 4
    return list(photos) if several else [photos]


def read_photo(photo: Any, channels: int) -> np.ndarray:
    """One photo at its own size.

    Args:
        photo: see ``load_photo``.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (height, width, channels) in [0, 255]; uint8, but for an array of other numbers.

    Raises:
        ValueError: it cannot be decoded, or is no such array.
        ImportError: Pillow is needed and missing.
    """
    if isinstance(photo, bytes | str | os.PathLike):
        with opened(photo) as image:
            return to_array(image, channels)
    return to_array(photo, channels) if hasattr(photo, "getexif") else _check_array(photo, channels)


def resize_and_crop(array: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """Scales so that the centre crop covers ``crop_fraction`` of the tighter side, and crops.

    The rule of ``ds_keras.data.resize_and_crop``, without TensorFlow.

    Args:
        array: (height, width, channels) in [0, 255].
        size: (height, width) of the result.
        preprocessing: crop fraction and interpolation.

    Returns:
        uint8 of that size; an array of that size as it is.
    """
    if array.shape[:2] == size:
        return array
    image_module, _ = pillow()
    scale = max(size[0] / array.shape[0], size[1] / array.shape[1]) / preprocessing.crop_fraction
    height, width = (max(round(side * scale), least) for side, least in zip(array.shape[:2], size, strict=True))
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    method = image_module.Resampling[preprocessing.interpolation.upper()]
    channels = []
    for k in range(array.shape[2]):  # in floats: Pillow would round 8-bit images twice
        channel = image_module.fromarray(np.ascontiguousarray(array[..., k])).convert("F")
        resized = np.asarray(channel.resize((width, height), method))
        channels.append(resized[top : top + size[0], left : left + size[1]])
    return np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)


def _check_array(photo: Any, channels: int) -> np.ndarray:
    """An array of the network's channels."""
    array = np.asarray(photo)
    array = array[..., None] if array.ndim == 2 else array
    if array.ndim != 3 or array.dtype.kind not in "uif" or not array.size or not 1 <= array.shape[2] <= 4:
        raise ValueError(
            "a photo must be a path, a PIL image, or numbers of shape (height, width) or (height, width, 1 to 4), "
            f"received {array.dtype} {array.shape}"
        )
    if array.dtype == np.uint16:
        array = from_16_bits(array)
    elif array.dtype != np.uint8:
        array = array.astype(np.float32)
        check_values(array)
        if array.min() < 0 or array.max() > 255:
            raise ValueError(f"a photo must be in [0, 255], received values from {array.min()} to {array.max()}")
    if array.shape[2] == channels:
        return array
    image_module, _ = pillow()
    plain = np.rint(array).astype(np.uint8)
    return to_array(image_module.fromarray(plain[..., 0] if plain.shape[2] == 1 else plain), channels)
