"""Input pipelines: labelled image sets with random access, readers, augmentation, and batches that resume exactly.

Names load on first use, so that ``import ds_keras.data`` does not import TensorFlow.

Example:
    >>> from ds_keras import data
    >>> sets = data.load("fashion_mnist:data/fashion-mnist")
    >>> train, held_out = sets["train"].split(5000, seed=0)
    >>> dataset = data.batches(train, 128, seed=0, augment="flip,pad_crop:2,erase:0.25")
"""

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Source": "source",
    "batches": "pipeline",
    "evaluation_batches": "pipeline",
    "augmentation": "augment.recipe",
    "Recipe": "augment.recipe",
    "flip": "augment.basic",
    "pad_crop": "augment.basic",
    "shift": "augment.basic",
    "random_erasing": "augment.basic",
    "random_resized_crop": "augment.crop",
    "trivial_augment": "augment.trivial",
    "rand_augment": "augment.trivial",
    "mixup": "augment.mix",
    "decode_image": "decode",
    "resize_and_crop": "resize",
    "load": "spec",
    "fashion_mnist": "readers.idx",
    "bridged_pack": "readers.packs",
    "jpeg_pack": "readers.packs",
    "lossless_pack": "readers.packs",
    "LosslessPack": "readers.packs",
    "image_folder": "readers.folder",
    "digits": "readers.named",
    "keras_dataset": "readers.named",
    "tfds": "readers.named",
    "write_tfrecords": "readers.tfrecord",
    "read_tfrecords": "readers.tfrecord",
    "verify_tfrecords": "readers.tfrecord",
}
__all__ = sorted(_NAMES)

if TYPE_CHECKING:
    from ds_keras.data.augment.basic import flip, pad_crop, random_erasing, shift  # noqa: F401
    from ds_keras.data.augment.crop import random_resized_crop  # noqa: F401
    from ds_keras.data.augment.mix import mixup  # noqa: F401
    from ds_keras.data.augment.recipe import Recipe, augmentation  # noqa: F401
    from ds_keras.data.augment.trivial import rand_augment, trivial_augment  # noqa: F401
    from ds_keras.data.decode import decode_image  # noqa: F401
    from ds_keras.data.pipeline import batches, evaluation_batches  # noqa: F401
    from ds_keras.data.readers.folder import image_folder  # noqa: F401
    from ds_keras.data.readers.idx import fashion_mnist  # noqa: F401
    from ds_keras.data.readers.named import digits, keras_dataset, tfds  # noqa: F401
    from ds_keras.data.readers.packs import LosslessPack, bridged_pack, jpeg_pack, lossless_pack  # noqa: F401
    from ds_keras.data.readers.tfrecord import read_tfrecords, verify_tfrecords, write_tfrecords  # noqa: F401
    from ds_keras.data.resize import resize_and_crop  # noqa: F401
    from ds_keras.data.source import Source  # noqa: F401
    from ds_keras.data.spec import load  # noqa: F401


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"ds_keras.data.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'ds_keras.data' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return list(__all__)
