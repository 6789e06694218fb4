"""Records of TFRecord shards, by offset; a shard is opened when the first of its records is read."""

import functools
import os
import zlib

import numpy as np
import tensorflow as tf

from ds_keras.data.decode import decode_image
from ds_keras.data.readers.storage import DecodedStorage, ImageShape

COLUMNS = {"shard": "i4", "offset": "i8", "length": "i8", "checksum": "u4", "label": "i4", "plain": "?"}
OPEN = 128  # shards that are open at a time


class RecordStorage(DecodedStorage):
    """Records of TFRecord shards, by offset.

    Args:
        paths: of the shards.
        columns: shard, offset and length (of the data, in bytes), checksum (CRC-32 of the data), plain of each record.
        shape: (height, width, channels), None where it varies.
    """

    def __init__(self, paths: list[str], columns: dict[str, np.ndarray], shape: ImageShape):
        super().__init__(shape, columns["plain"])
        self.paths, self.columns = paths, columns
        self._shard = functools.lru_cache(OPEN)(lambda shard: _Shard(paths[shard]))

    def __len__(self) -> int:
        return len(self.columns["shard"])

    def encoded(self, index: int) -> bytes:
        """See ``Storage``; checks the record first."""
        shard, offset, length, checksum = (int(self.columns[key][index]) for key in list(COLUMNS)[:4])
        data = self._shard(shard).read(length, offset)
        if zlib.crc32(data) != checksum:
            raise ValueError(f"record {index} of {self.paths[shard]} at byte {offset} is damaged")
        try:
            features = tf.train.Example.FromString(data).features.feature
            (image,) = features["image/encoded"].bytes_list.value
            (label,) = features["image/class/label"].int64_list.value
        except Exception as error:  # the errors of protocol buffers have no common type
            raise ValueError(f"{self.where(index)}: no image with a label: {error}") from error
        if label != self.columns["label"][index]:
            raise ValueError(f"{self.where(index)}: the label is {label}, in the index {self.columns['label'][index]}")
        return image

    def read(self, index: int) -> np.ndarray:
        """See ``Storage``."""
        data = self.encoded(index)  # whose errors name the record
        try:
            return decode_image(data, self.shape[2])
        except ValueError as error:
            raise ValueError(f"{self.where(index)}: {error}") from error

    def where(self, index: int) -> str:
        """A record's place, for messages."""
        shard, offset = (int(self.columns[key][index]) for key in ("shard", "offset"))
        return f"record {index}, in {self.paths[shard]} at byte {offset}"


class _Shard:
    """An open file; it is closed when nobody reads it any more."""

    def __init__(self, path: str):
        self.descriptor = os.open(path, os.O_RDONLY)

    def read(self, length: int, offset: int) -> bytes:
        """Bytes of the file."""
        return os.pread(self.descriptor, length, offset)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)
