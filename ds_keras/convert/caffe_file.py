"""Reads the weights of a Caffe model file (``.caffemodel``): a protocol buffer, of which a few fields are needed."""

import math
import os
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ds_keras.core.files import read_limited, shown

MAX_BYTES = 1 << 25  # of a file
MAX_LAYERS, MAX_ARRAYS, MAX_AXES = 10_000, 16, 8  # in a file, of a layer, of an array
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
        ValueError: no such file, a file of another kind, of more than 32 MiB or 10,000 layers, two layers of one name,
            or an array whose shape does not fit its values. The message names the file.
    """
    data = read_limited(path, MAX_BYTES)
    try:
        net: Any = _message("NetParameter").FromString(data)
        layers = [layer for layer in net.layer if layer.blobs] if len(net.layer) <= MAX_LAYERS else []
        if any(len(layer.blobs) > MAX_ARRAYS for layer in layers):
            raise ValueError(f"a layer has more than {MAX_ARRAYS} arrays")
        if not layers or len({layer.name for layer in layers}) < len(layers):
            raise ValueError(f"{len(net.layer)} layers, of at most {MAX_LAYERS} with arrays and names of their own")
        return {layer.name: [_array(blob) for blob in layer.blobs] for layer in layers}
    except (DecodeError, ValueError) as error:
        raise ValueError(f"{shown(path)} is not a Caffe model file: {shown(error)}") from None


def _array(blob: Any) -> np.ndarray:
    axes = len(blob.shape.dim)
    if not 0 < axes <= MAX_AXES:
        raise ValueError(f"an array's shape has {axes} axes, 1 to {MAX_AXES} are allowed")
    shape = tuple(blob.shape.dim)
    if min(shape) < 1 or math.prod(shape) != len(blob.data):
        raise ValueError(f"an array of the shape {shape} has {len(blob.data)} values")
    return np.asarray(blob.data, np.float32).reshape(shape)


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
