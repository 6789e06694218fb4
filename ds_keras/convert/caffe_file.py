"""Reads the weights of a Caffe model file (``.caffemodel``): a protocol buffer, of which a few fields are needed."""

import os
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ds_keras.core.files import read_limited, shown

MAX_BYTES = 1 << 28  # of a file
STRING, MESSAGE, FLOAT, INT64 = 9, 11, 2, 3  # protocol buffers' numbers of types
# Message: (field, number, type, message or None), of https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto
FIELDS: dict[str, tuple[tuple[str, int, int, str | None], ...]] = {
    "BlobShape": (("dim", 1, INT64, None),),
    "BlobProto": (("data", 5, FLOAT, None), ("shape", 7, MESSAGE, "BlobShape")),
    "LayerParameter": (("name", 1, STRING, None), ("blobs", 7, MESSAGE, "BlobProto")),
    "NetParameter": (("layer", 100, MESSAGE, "LayerParameter"),),
}
REPEATED = ("dim", "data", "blobs", "layer")


def read_blobs(path: str | os.PathLike) -> dict[str, list[np.ndarray]]:
    """The arrays of every layer that has some.

    Args:
        path: of the file.

    Returns:
        {layer: float32 arrays}, with Caffe's axes: (outputs, inputs, height, width) for a convolution.

    Raises:
        ValueError: no such file, a file of another kind or of more than 256 MiB, or an array whose shape does not fit
            its values. The message names the file.
    """
    data = read_limited(path, MAX_BYTES)
    try:
        net: Any = _message("NetParameter").FromString(data)
        return {layer.name: [_array(blob) for blob in layer.blobs] for layer in net.layer if layer.blobs}
    except (DecodeError, ValueError) as error:
        raise ValueError(f"{shown(path)} is not a Caffe model file: {shown(error)}") from None


def _array(blob: Any) -> np.ndarray:
    values = np.asarray(blob.data, np.float32)
    shape = tuple(blob.shape.dim)
    if any(size < 0 for size in shape):
        raise ValueError(f"an array of the shape {shape}")
    return values.reshape(shape)


@cache
def _message(name: str) -> Any:
    """The class of a message, without generated code."""
    file = descriptor_pb2.FileDescriptorProto(name="ds_keras/caffe.proto", package="ds_keras", syntax="proto2")
    for message, fields in FIELDS.items():
        made = file.message_type.add(name=message)
        for field, number, kind, inner in fields:
            label = 3 if field in REPEATED else 1
            added = made.field.add(name=field, number=number, type=kind, label=label)
            if inner:
                added.type_name = f".ds_keras.{inner}"
            elif label == 3:
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"ds_keras.{name}"))
