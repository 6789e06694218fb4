"""Reads photos of any common format and mode with Pillow."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")

File = bytes | str | os.PathLike


@contextlib.contextmanager
def opened(data: File) -> "Iterator[Image.Image]":
    """Opens an encoded image and reads all of it.

    Args:
        data: the encoded file, or its path.

    Yields:
        The PIL image, as it is stored.

    Raises:
        ValueError: it cannot be decoded completely, is larger than Pillow's ``MAX_IMAGE_PIXELS``, or what is done with
            it fails. The message names the path, if there is one.
        FileNotFoundError: no such file.
    """
    image_module, _ = pillow()
    name = f"of {len(data)} bytes" if isinstance(data, bytes) else os.fspath(data)
    try:
        with image_module.open(io.BytesIO(data) if isinstance(data, bytes) else os.path.expanduser(data)) as image:
            limit = image_module.MAX_IMAGE_PIXELS
            if limit and image.width * image.height > limit:
                raise ValueError(f"{image.width}x{image.height} pixels, at most {limit} are allowed")
            image.load()
            yield image
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds, struct.error and SyntaxError among them
        raise ValueError(f"cannot decode the image {name}: {type(error).__name__}: {error}") from error


def to_array(image: "Image.Image", channels: int) -> np.ndarray:
    """A PIL image as a viewer shows it: upright, transparency over white, 16 bits scaled to 8.

    Args:
        image: of any mode with a range of its own.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (height, width, channels) uint8.

    Raises:
        ValueError: 32-bit integers or floats, or another number of channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"photos are read in 1 or 3 channels, but the network reads {channels}: give arrays of these")
    image_module, operations = pillow()
    form, image = image.format, operations.exif_transpose(image)
    # Pillow clips 16-bit grey at 255 instead of scaling it. Old versions open 16-bit PNGs as mode "I".
    if image.mode.startswith("I;16") or (image.mode == "I" and form in ("PNG", None)):
        image = image_module.fromarray(from_16_bits(np.asarray(image)))
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode!r} has no fixed range; use 8 or 16 bits")
    if image.mode in _ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        image = image_module.alpha_composite(image_module.new("RGBA", image.size, "white"), image)
    array = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    return array.reshape(*array.shape[:2], channels)


def pillow() -> tuple[Any, Any]:
    """The modules ``Image`` and ``ImageOps`` of Pillow.

    Raises:
        ImportError: it is missing.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(f"photos are decoded and resized with Pillow: pip install pillow ({error})") from error
    return Image, ImageOps


def from_16_bits(array: np.ndarray) -> np.ndarray:
    """uint16 values scaled to uint8."""
    wide = np.clip(array.astype(np.int64), 0, 65535)
    return ((wide * 255 + 32767) // 65535).astype(np.uint8)
