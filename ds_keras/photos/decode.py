"""Reads photos of any common format and mode with Pillow."""

import contextlib
import functools
import io
import os
import stat
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# What image files are called.
EXTENSIONS = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Folders that systems and programs put beside the data; hidden ones begin with a point.
SYSTEM_FOLDERS = frozenset(
    ("__macosx", "__pycache__", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information")
)
MAX_NESTING = 64  # of folders
# Of Pillow's formats, those that it reads itself: for EPS it would start another program.
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
PIXELS_IN_FLIGHT = 2**26  # that all threads decode at a time; about 1 GiB with the copies that turning needs
_STRIP = 256  # rows that are laid over white at a time
_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")

File = bytes | str | os.PathLike


def passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a folder of the system."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


class Pixels:
    """Lets as many images be decoded at a time as fit a number of pixels; a larger one alone.

    Args:
        limit: pixels.
    """

    def __init__(self, limit: int):
        self.limit, self.in_flight, self._free = limit, 0, threading.Condition()

    @contextlib.contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Waits until ``count`` more pixels fit, and holds them."""
        with self._free:
            self._free.wait_for(lambda: not self.in_flight or self.in_flight + count <= self.limit)
            self.in_flight += count
        try:
            yield
        finally:
            with self._free:
                self.in_flight -= count
                self._free.notify_all()


_PIXELS = Pixels(PIXELS_IN_FLIGHT)


@contextlib.contextmanager
def opened(data: File) -> "Iterator[Image.Image]":
    """Opens an encoded image. Its pixels are read when they are asked for.

    Args:
        data: the encoded file, or its path.

    Yields:
        The PIL image, as it is stored.

    Raises:
        ValueError: it cannot be decoded completely, is larger than Pillow's ``MAX_IMAGE_PIXELS``, is no regular file,
            or what is done with it fails. The message names the path, if there is one.
        FileNotFoundError: no such file.
    """
    image_module, _ = pillow()
    name = f"of {len(data)} bytes" if isinstance(data, bytes) else os.fspath(data)
    try:
        with image_module.open(_source(data), formats=_formats()) as image:
            limit, pixels = image_module.MAX_IMAGE_PIXELS, image.width * image.height
            if limit and pixels > limit:
                raise ValueError(f"{image.width}x{image.height} pixels, at most {limit} are allowed")
            with _PIXELS.take(pixels):
                yield image
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's plugins raise many kinds, struct.error and SyntaxError among them
        raise ValueError(f"cannot decode the image {name}: {type(error).__name__}: {error}") from error


def _source(data: File) -> io.BytesIO | str:
    """What Pillow opens. A pipe or a device is not opened: it might never end."""
    if isinstance(data, bytes):
        return io.BytesIO(data)
    path = os.path.expanduser(data)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is not a regular file")
    return os.fspath(path)


@functools.cache
def _formats() -> list[str]:
    """Those of ``FORMATS`` that the installed Pillow has."""
    image_module, _ = pillow()
    image_module.init()
    return [name for name in FORMATS if name in image_module.OPEN]


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
    form = image.format
    operations.exif_transpose(image, in_place=True)  # else it copies upright images
    # Pillow clips 16-bit grey at 255 instead of scaling it. Old versions open 16-bit PNGs as mode "I".
    if image.mode.startswith("I;16") or (image.mode == "I" and form in ("PNG", None)):
        image = image_module.fromarray(from_16_bits(np.asarray(image)))
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode!r} has no fixed range; use 8 or 16 bits")
    mode = "RGB" if channels == 3 else "L"
    if image.mode in _ALPHA or "transparency" in image.info:
        array = np.concatenate([np.asarray(part.convert(mode)) for part in _over_white(image)])
    else:
        array = np.asarray(image if image.mode == mode else image.convert(mode))
    return array.reshape(*array.shape[:2], channels)


def _over_white(image: "Image.Image") -> "Iterator[Image.Image]":
    """The image laid over white, in strips, because copies of the whole of it would need several times its memory."""
    image_module, _ = pillow()
    for top in range(0, image.height, _STRIP):
        part = image.crop((0, top, image.width, min(top + _STRIP, image.height))).convert("RGBA")
        yield image_module.alpha_composite(image_module.new("RGBA", part.size, "white"), part)


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
