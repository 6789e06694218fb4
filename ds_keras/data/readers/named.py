"""Named sets: those that come with other libraries."""

import importlib
from typing import Any

import numpy as np

from ds_keras.data.readers.idx import FASHION_MNIST_CLASSES
from ds_keras.data.source import Source

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
KERAS_DATASETS = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": FASHION_MNIST_CLASSES,
    "cifar10": CIFAR10_CLASSES,
    "cifar100": tuple(f"class {k}" for k in range(100)),
}


def digits() -> dict[str, Source]:
    """Scikit-learn's handwritten digits: 1,797 grey images of 8x8, ten classes. No download.

    Returns:
        {"train": 1,437 images, "test": 360 images} of (8, 8, 1) uint8, the grey values 0..16 scaled to 0..255; the
        split is ours: stratified, seed 0.

    Raises:
        ImportError: scikit-learn is not installed.

    Example:
        >>> len(digits()["train"])
        1437
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("digits() needs scikit-learn: pip install ds_keras[demo]") from error
    raw = load_digits()
    images = np.round(raw.images * (255 / 16)).astype(np.uint8)[..., None]
    train, test = Source.from_arrays(images, raw.target, tuple("0123456789"), "digits").split(360, seed=0)
    train.name, test.name = "digits/train", "digits/test"
    return {"train": train, "test": test}


def keras_dataset(name: str) -> dict[str, Source]:
    """A set of ``keras.datasets``; Keras downloads it on first use.

    Args:
        name: "mnist", "fashion_mnist", "cifar10" or "cifar100".

    Returns:
        {"train": Source, "test": Source} of uint8 images.

    Raises:
        ValueError: unknown name.
        ConnectionError: Keras cannot fetch or read it.

    Example:
        >>> keras_dataset("cifar10")["train"].image_shape
        (32, 32, 3)
    """
    if name not in KERAS_DATASETS:
        raise ValueError(f"name must be one of {tuple(KERAS_DATASETS)}, received {name!r}")
    import keras

    try:
        raw = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises bare Exception where a download fails
        raise ConnectionError(
            f"keras.datasets.{name} could not be fetched: {error}. It needs the network once; "
            "fashion_mnist(directory), jpeg_pack(path) and digits() do not."
        ) from error
    splits = {}
    for split, (images, labels) in zip(("train", "test"), raw, strict=True):
        images = np.asarray(images)
        images, labels = images[..., None] if images.ndim == 3 else images, np.asarray(labels).reshape(-1)
        try:
            splits[split] = Source.from_arrays(images, labels, KERAS_DATASETS[name], f"{name}/{split}")
        except ValueError as error:
            raise ValueError(f"keras.datasets.{name}, {split}: {error}") from error
    return splits


def tfds(name: str, data_dir: str | None = None) -> dict[str, Source]:
    """A classification set of TensorFlow Datasets. The encoded images are held in memory.

    For sets larger than memory, write shards once (``write_tfrecords``) and read those.

    Args:
        name: as ``tfds.load`` takes it, for example "oxford_flowers102".
        data_dir: as ``tfds.load`` takes it.

    Returns:
        {"train": Source, "test": Source}; "test" is the set's "test" split, else its "validation".

    Raises:
        ImportError: tensorflow-datasets is not installed.
        ValueError: the set has no train and test (or validation) split, or no image and label.

    Example:
        >>> tfds("cifar100")["train"]
    """
    try:
        library: Any = importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise ImportError("tfds() needs TensorFlow Datasets: pip install tensorflow-datasets") from error
    builder = library.builder(name, data_dir=data_dir)
    builder.download_and_prepare()
    features, available = builder.info.features, tuple(builder.info.splits)
    test = next((split for split in ("test", "validation") if split in available), None)
    if "train" not in available or test is None:
        raise ValueError(f"{name!r} must have the splits train and test (or validation), it has {available}")
    if "image" not in features or "label" not in features:
        raise ValueError(f"{name!r} must have the features image and label, it has {tuple(features)}")
    try:
        height, width, channels = features["image"].shape
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"{name!r} must have images (height, width, channels), it has {features['image']}") from None
    splits = {}
    for split, key in (("train", "train"), ("test", test)):
        dataset = builder.as_dataset(split=key, shuffle_files=False, decoders={"image": library.decode.SkipDecoding()})
        rows = [(bytes(row["image"]), int(row["label"])) for row in dataset.as_numpy_iterator()]
        files, labels = [row[0] for row in rows], [row[1] for row in rows]
        shape = (height, width, 1 if channels == 1 else 3)
        try:
            splits[split] = Source.from_arrays(files, labels, features["label"].names, f"{name}/{split}", shape)
        except ValueError as error:
            raise ValueError(f"tfds {name!r}, {split}: {error}") from error
    return splits
