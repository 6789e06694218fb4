"""Decodes one image file, of any common format and mode, to RGB or grey: the only decoder of image sets.

Upright JPEG files are decoded by TensorFlow, all others by Pillow. What verifies a file is what reads it later.
"""

import os
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from ds_keras.photos.decode import File, opened, to_array

# How files of these formats begin; WebP: "RIFF", four bytes of length, "WEBP".
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
MAX_BYTES = 2**27  # of a JPEG file, which is read whole: no image of Pillow's ``MAX_IMAGE_PIXELS`` needs as many
_ORIENTATION = 0x0112  # EXIF tag


class Decoded(NamedTuple):
    """An image and how it was stored.

    Args:
        image: (height, width, channels) uint8.
        plain: whether ``decode_plain`` gives the same: an upright JPEG, grey or RGB, that TensorFlow decodes.
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
        ValueError: it cannot be decoded completely, is larger than Pillow's ``MAX_IMAGE_PIXELS``, is no regular file,
            or has a mode with no scale of its own (32-bit integers, floats). The message names the path, if there is
            one.
        FileNotFoundError: no such file.

    Example:
        >>> decode_image("cat.png").shape
        (375, 500, 3)
    """
    return decode(data, channels).image


def decode(data: File, channels: int = 3) -> Decoded:
    """As ``decode_image``, and tells whether ``decode_plain`` gives the same image."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, received {channels!r}")
    with opened(data) as image:
        plain = _by_tensorflow(data, channels) if _is_plain(image) else None
        return Decoded(to_array(image, channels), False) if plain is None else Decoded(plain, True)


_TOLD = re.compile(r"\b(?:ValueError|FileNotFoundError|PermissionError|OSError): (.+)")


def decode_plain(data: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Decodes a plain JPEG in a graph, without Python: the same pixels as ``decode_image``.

    Args:
        data: scalar string tensor, the file.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (height, width, channels) uint8.
    """
    # The accurate DCT is Pillow's; TensorFlow's default is another and differs by up to 8 of 255.
    return tf.io.decode_jpeg(data, channels=channels, dct_method="INTEGER_ACCURATE")


def told(error: tf.errors.OpError) -> str | None:
    """What Python raised inside a graph: the name of a damaged file, for one.

    Args:
        error: of TensorFlow, as an input pipeline raises it.

    Returns:
        The message; None where the error is TensorFlow's own.
    """
    found = _TOLD.search(error.message)
    return found and found[1]


def looks_like_an_image(path: str | os.PathLike) -> bool:
    """Whether a file begins as images of the common formats do (two letters of BMP are too few to tell)."""
    with open(path, "rb") as file:
        head = file.read(12)
    return head.startswith(BEGINNINGS) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def _by_tensorflow(data: File, channels: int) -> np.ndarray | None:
    """The image, or None where TensorFlow refuses the file, such as one whose end is missing: Pillow may take it."""
    if not isinstance(data, bytes):
        with open(os.path.expanduser(data), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"a JPEG file of more than {MAX_BYTES} bytes")
    try:
        with tf.init_scope(), tf.device("CPU:0"):
            return decode_plain(tf.constant(data), channels).numpy()
    except tf.errors.InvalidArgumentError:
        return None


def _is_plain(image: Image.Image) -> bool:
    upright = image.getexif().get(_ORIENTATION, 1) in (0, 1)
    return image.format == "JPEG" and image.mode in ("L", "RGB") and upright
