"""What images must be: finite numbers of the network's shape."""

import warnings
from typing import Any

import numpy as np

Shape = tuple[int, ...]


def check_values(images: np.ndarray) -> None:
    """Refuses images with NaN or infinities, and warns once of values that all lie in [0, 1].

    Args:
        images: numbers; integers are not looked at.

    Raises:
        ValueError: a value is not finite.
    """
    if images.dtype.kind != "f" or not images.size:
        return
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN is the minimum of all that holds it
        raise ValueError(f"images must be finite, received values from {low} to {high}")
    if low >= 0 and 0 < high <= 1:
        warnings.warn(
            "all values of the images lie in [0, 1], but networks of ds_keras read images in [0, 255]: multiply by 255",
            stacklevel=2,
        )


def size_error(shape: Shape, received: Any, what: str) -> ValueError:
    """The error for images of another shape than the network's: one text for every entry point.

    Args:
        shape: (height, width, channels) that the network reads.
        received: the images.
        what: "model" or "session", as a user calls it.
    """
    dtype = getattr(received.dtype, "name", received.dtype)
    return ValueError(
        f"images must be numbers of shape (count, {', '.join(map(str, shape))}), "
        f"received {dtype} {tuple(received.shape)}: {what}.classify takes photos of any size"
    )
