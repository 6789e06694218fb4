"""Decodes one image file, of any common format and mode, to RGB or grey."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from ds_keras.photos.decode import File, opened, to_array

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_ORIENTATION = 0x0112  # EXIF tag


class Decoded(NamedTuple):
    """An image and how it was stored.

    Args:
        image: (height, width, channels) uint8.
        plain: whether ``decode_plain`` gives the same: an upright JPEG, grey or RGB.
    """

    image: np.ndarray
    plain: bool


def decode_image(data: File, channels: int = 3) -> np.ndarray:
    """Decodes one image as a viewer shows it: upright, first frame, transparency over white, 16 bits scaled to 8.

    Args:
        data: the encoded file, or its path.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (height, width, channels) uint8.

    Raises:
        ValueError: it cannot be decoded completely, is larger than Pillow's ``MAX_IMAGE_PIXELS``, or has a mode with no
            scale of its own (32-bit integers, floats). The message names the path, if there is one.
        FileNotFoundError: no such file.

    Example:
        >>> decode_image("cat.png").shape
        (375, 500, 3)
    """
    return decode(data, channels).image


def decode(data: File, channels: int = 3) -> Decoded:
    """As ``decode_image``, and tells whether TensorFlow's own decoder may be used."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, received {channels!r}")
    with opened(data) as image:
        return Decoded(to_array(image, channels), _is_plain(image))


def decode_plain(data: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Decodes a plain JPEG in a graph, without Python: the same pixels as ``decode_image``, several times as fast.

    Args:
        data: scalar string tensor, the file.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (height, width, channels) uint8.
    """
    # The accurate DCT is Pillow's; TensorFlow's default is another and differs by up to 8 of 255.
    return tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")


def _is_plain(image: Image.Image) -> bool:
    upright = image.getexif().get(_ORIENTATION, 1) in (0, 1)
    return image.format == "JPEG" and image.mode in ("L", "RGB") and upright
