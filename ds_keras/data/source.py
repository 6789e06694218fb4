"""A labelled image set with random access: what every reader returns and every pipeline takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ds_keras.data.decode import told
from ds_keras.data.readers.storage import ArrayStorage, EncodedStorage, ImageShape, Storage
from ds_keras.data.resize import check_size, resize_and_crop


class Source:
    """A random-access labelled image set. Subsets share the pixels.

    Args:
        storage: the images.
        labels: (count,) integer classes in [0, len(class_names)).
        class_names: one name for each class.
        name: for messages and metrics.
        indices: (count,) positions in the storage; default all of it, in order.
        corrupt: files that were left out because they cannot be decoded.

    Raises:
        ValueError: labels do not fit the images or the class names.

    Example:
        >>> source = Source.from_arrays(images, labels, ["cat", "dog"])
        >>> train, held_out = source.split(0.1, seed=0)
        >>> images = held_out.images(size=(224, 224))
    """

    def __init__(
        self,
        storage: Storage,
        labels: Any,
        class_names: Sequence[str],
        name: str = "images",
        indices: np.ndarray | None = None,
        corrupt: Sequence[str] = (),
    ):
        self.storage, self.name, self.corrupt = storage, name, list(corrupt)
        self.class_names = [str(class_name) for class_name in class_names]
        self.indices = np.arange(len(storage)) if indices is None else np.asarray(indices, np.int64)
        labels = np.asarray(labels)
        if labels.shape != (len(self.indices),) or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"labels must be integers of shape ({len(self.indices)},), "
                f"received {labels.dtype} of shape {labels.shape}"
            )
        if len(labels) == 0:
            raise ValueError(f"a source must hold at least one image, {name!r} has none")
        if labels.min() < 0 or labels.max() >= len(self.class_names):
            raise ValueError(
                f"labels must be in [0, {len(self.class_names)}), the number of class names, "
                f"received values in [{labels.min()}, {labels.max()}]"
            )
        self.labels = labels.astype(np.int32)
        self._graph_indices = None

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        class_names: Sequence[str],
        name: str = "arrays",
        image_shape: ImageShape = (None, None, 3),
    ) -> "Source":
        """A source in memory.

        Args:
            images: (count, height, width, channels) uint8, or a list of encoded files (bytes).
            labels: (count,) integer classes.
            class_names: one name for each class.
            name: for messages and metrics.
            image_shape: (height, width, channels) of encoded files, None where it varies.

        Returns:
            The source.

        Raises:
            ValueError: the images are neither, or do not fit the labels.

        Example:
            >>> Source.from_arrays(np.zeros([2, 28, 28, 1], "uint8"), [0, 1], ["shirt", "bag"])
        """
        if isinstance(images, list | tuple) and images and all(isinstance(image, bytes) for image in images):
            return cls(EncodedStorage(images, image_shape), labels, class_names, name)
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            raise ValueError(
                "images must be uint8 of shape (count, height, width, 1 or 3) or a list of bytes, "
                f"received {images.dtype} of shape {images.shape}"
            )
        return cls(ArrayStorage(images), labels, class_names, name)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {len(self)} images {self.image_shape}, {len(self.class_names)} classes)"

    @property
    def image_shape(self) -> ImageShape:
        """(height, width, channels); height and width are None where they vary."""
        return self.storage.shape

    @property
    def in_memory(self) -> bool:
        """Whether ``load`` takes vectors of indices: the decoded images are an array in memory."""
        return isinstance(self.storage, ArrayStorage)

    def subset(self, indices: Any, name: str | None = None) -> "Source":
        """The images at ``indices``, in that order.

        Args:
            indices: (count,) integers in [0, len(self)), or a (len(self),) boolean mask.
            name: default this source's.

        Returns:
            A source that shares the pixels.

        Raises:
            ValueError: an index is out of range, or none is given.

        Example:
            >>> shirts = source.subset(source.labels == 0)
        """
        indices = np.asarray(indices)
        if indices.dtype == bool and indices.shape == (len(self),):
            indices = np.flatnonzero(indices)
        if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer) or not len(indices):
            raise ValueError(
                f"indices must be integers or a mask of shape ({len(self)},) and name at least one image, "
                f"received {indices.dtype} of shape {indices.shape}"
            )
        if indices.min() < 0 or indices.max() >= len(self):
            raise ValueError(f"indices must be in [0, {len(self)}), received [{indices.min()}, {indices.max()}]")
        chosen = name or self.name
        return Source(self.storage, self.labels[indices], self.class_names, chosen, self.indices[indices], self.corrupt)

    def split(self, held_out: float | int, seed: int = 0) -> tuple["Source", "Source"]:
        """Holds a part out, with every class in proportion; the same arguments always give the same images.

        Args:
            held_out: fraction in (0, 1), or number of images as an int.
            seed: of the choice, in [0, 2**32).

        Returns:
            (train, held_out), each in this source's order.

        Raises:
            ValueError: one of the parts would be empty.

        Example:
            >>> train, held_out = source.split(5000, seed=0)
        """
        n = len(self)
        count = held_out if isinstance(held_out, int | np.integer) else round(float(held_out) * n)
        if isinstance(held_out, bool) or not 0 < count < n:
            raise ValueError(
                f"held_out must be a fraction in (0, 1) or a count in [1, {n - 1}] of {n} images, received {held_out!r}"
            )
        mask = np.zeros(n, bool)
        mask[_stratified(self.labels, len(self.class_names), int(count), seed)] = True
        return self.subset(~mask, f"{self.name}[train]"), self.subset(mask, f"{self.name}[held out]")

    def load(self, index: tf.Tensor) -> tf.Tensor:
        """Loads one image in a graph; a batch of them where ``in_memory``.

        Args:
            index: scalar int64 in [0, len(self)), or a vector of them where ``in_memory``.

        Returns:
            (height, width, channels) uint8, with a leading batch axis for a vector.

        Example:
            >>> tf.data.Dataset.range(len(source)).map(source.load)
        """
        if self._graph_indices is None:
            with tf.init_scope(), tf.device("CPU:0"):
                self._graph_indices = tf.constant(self.indices, tf.int64)
        return self.storage.load(tf.gather(self._graph_indices, index))

    def images(self, size: Any = None, crop_fraction: float = 1.0) -> np.ndarray:
        """All images at one size, decoded in order.

        Args:
            size: an integer or (height, width); needed where sizes vary.
            crop_fraction: see ``resize_and_crop``.

        Returns:
            (count, height, width, channels) uint8.

        Raises:
            ValueError: no size where one is needed, or an image that can no longer be read. The message names its file.

        Example:
            >>> held_out.images(size=(128, 128)).shape
            (947, 128, 128, 3)
        """
        if size is None and None in self.image_shape:
            raise ValueError(f"size=(height, width) is needed: the images of {self.name!r} vary in size")
        size = self.image_shape[:2] if size is None else check_size(size, "size")
        if isinstance(self.storage, ArrayStorage) and size == self.image_shape[:2]:
            return self.storage.images[self.indices]
        out = np.empty((len(self), *size, self.image_shape[2]), np.uint8)
        dataset = tf.data.Dataset.range(len(self)).map(
            lambda i: tf.cast(resize_and_crop(self.load(i), size, crop_fraction), tf.uint8),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        try:
            for i, image in enumerate(dataset.as_numpy_iterator()):
                out[i] = image
        except tf.errors.OpError as error:
            if (reason := told(error)) is None:
                raise
            raise ValueError(reason) from error
        return out


def _stratified(labels: np.ndarray, classes: int, count: int, seed: int) -> np.ndarray:
    """``count`` positions with every class in proportion: the largest remainders get the last ones."""
    random = np.random.RandomState(seed)  # its streams are frozen, those of default_rng are not
    sizes = np.bincount(labels, minlength=classes)
    share = sizes * (count / len(labels))
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: count - take.sum()]] += 1
    return np.concatenate([random.permutation(np.flatnonzero(labels == k))[: take[k]] for k in range(classes)])
