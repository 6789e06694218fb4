"""Decodes one image file, of any common format and mode, to RGB or grey."""

import io
import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATION = 0x0112  # EXIF tag

File = bytes | str | os.PathLike


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
    name = f"of {len(data)} bytes" if isinstance(data, bytes) else os.fspath(data)
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit and image.width * image.height > limit:
                raise ValueError(f"{image.width}x{image.height} pixels, at most {limit} are allowed")
            image.load()
            return Decoded(_to_array(ImageOps.exif_transpose(image), channels), _is_plain(image))
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds, struct.error and SyntaxError among them
        raise ValueError(f"cannot decode the image {name}: {type(error).__name__}: {error}") from error


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


def _to_array(image: Image.Image, channels: int) -> np.ndarray:
    # Pillow clips 16-bit grey at 255 instead of scaling it. Old versions open 16-bit PNGs as mode "I".
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", None)):
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode!r} has no fixed range; use 8 or 16 bits")
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    array = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    return array.reshape(*array.shape[:2], channels)
