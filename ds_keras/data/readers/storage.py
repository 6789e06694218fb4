"""Where the pixels of a source live: in an array, in encoded bytes, or in files. All give random access."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from ds_keras.core.files import read_limited
from ds_keras.data.decode import decode_image, decode_plain

MAX_BYTES = 2**29  # of an encoded image
ImageShape = tuple[int | None, int | None, int]


class Storage(Protocol):
    """Random access to images.

    Args:
        shape: (height, width, channels); height and width are None where they vary.
    """

    shape: ImageShape

    def __len__(self) -> int: ...

    def read(self, index: int) -> np.ndarray:
        """One image: (height, width, channels) uint8."""
        ...

    def encoded(self, index: int) -> bytes | None:
        """The encoded file of one image, or None where there is none."""
        ...

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """``read`` for graphs: scalar int64 index to uint8 image."""
        ...


class ArrayStorage:
    """Images of one size in memory; ``load`` takes a vector of indices too.

    Args:
        images: (count, height, width, channels) uint8.
    """

    def __init__(self, images: np.ndarray):
        self.images = images
        self.shape: ImageShape = tuple(images.shape[1:])
        self._tensor = None

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> np.ndarray:
        """See ``Storage``."""
        return self.images[index]

    def encoded(self, index: int) -> None:
        """See ``Storage``."""
        return None

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """See ``Storage``."""
        if self._tensor is None:
            # An eager tensor is captured by graphs, by reference: no constant of 2 GB in a graph definition.
            with tf.init_scope(), tf.device("CPU:0"):
                self._tensor = tf.constant(self.images)
        with tf.device("CPU:0"):  # where it runs eagerly too: never copy the whole set to a GPU
            return tf.gather(self._tensor, index)


class DecodedStorage(ABC):
    """Base of storages that decode on the fly.

    Args:
        shape: (height, width, channels), None where it varies.
        plain: (count,) whether each file is a plain JPEG (see ``decode``); None where that is not known.
    """

    def __init__(self, shape: ImageShape = (None, None, 3), plain: np.ndarray | None = None):
        self.shape, self.plain = shape, plain

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """See ``Storage``; an error names the file."""

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """See ``Storage``."""

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """See ``Storage``: by ``read``, whose errors name the file, and which asks the file as it is now."""

        def read(index: Any) -> np.ndarray:
            image = self.read(int(index))
            if any(want not in (None, got) for want, got in zip(self.shape, image.shape, strict=True)):
                raise ValueError(f"image {int(index)} has the shape {image.shape}, expected {self.shape}")
            return image

        return tf.ensure_shape(tf.numpy_function(read, [index], tf.uint8), self.shape)


class EncodedStorage(DecodedStorage):
    """Encoded images (JPEG, PNG, ...) in memory.

    Args:
        files: the bytes of each image.
        shape: (height, width, channels), None where it varies.
        plain: see ``DecodedStorage``.
    """

    def __init__(self, files: Sequence[bytes], shape: ImageShape = (None, None, 3), plain: np.ndarray | None = None):
        super().__init__(shape, plain)
        self.files = files
        self._tensor = None

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> np.ndarray:
        """See ``Storage``."""
        try:
            return decode_image(self.files[index], self.shape[2])
        except ValueError as error:
            raise ValueError(f"image {index}: {error}") from error

    def encoded(self, index: int) -> bytes:
        """See ``Storage``."""
        return self.files[index]

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """See ``Storage``: plain JPEG files, which were decoded before and cannot change, without Python."""
        if self.plain is None or not self.plain.any():
            return super().load(index)
        if self.plain.all():
            return self._load_plain(index)
        with tf.init_scope(), tf.device("CPU:0"):
            plain = tf.constant(self.plain)
        others = super().load
        return tf.cond(tf.gather(plain, index), lambda: self._load_plain(index), lambda: others(index))

    def _load_plain(self, index: tf.Tensor) -> tf.Tensor:
        if self._tensor is None:
            with tf.init_scope(), tf.device("CPU:0"):
                self._tensor = tf.constant(self.files, tf.string)
        return tf.ensure_shape(decode_plain(tf.gather(self._tensor, index), self.shape[2]), self.shape)


class FileStorage(DecodedStorage):
    """Image files on disk, decoded to RGB.

    Args:
        paths: of each image.
        plain: see ``DecodedStorage``.
    """

    def __init__(self, paths: Sequence[str], plain: np.ndarray | None = None):
        super().__init__(plain=plain)
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> np.ndarray:
        """See ``Storage``."""
        return decode_image(self.paths[index], self.shape[2])

    def encoded(self, index: int) -> bytes:
        """See ``Storage``."""
        return read_limited(self.paths[index], MAX_BYTES)
