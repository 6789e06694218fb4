"""One string for any image set, as the command line tools take it."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ds_keras.core.files import expanded
from ds_keras.data.readers.folder import TEST_FOLDERS, image_folder
from ds_keras.data.readers.idx import fashion_mnist
from ds_keras.data.readers.named import digits, keras_dataset, tfds
from ds_keras.data.readers.packs import bridged_pack, jpeg_pack
from ds_keras.data.readers.tfrecord import read_tfrecords
from ds_keras.data.source import Source

FORMS = (
    "digits",
    "fashion_mnist:DIRECTORY",
    "pack:FILE.npz[+LOSSLESS.npz]",
    "folder:DIRECTORY",
    "keras:NAME",
    "tfds:NAME",
    "tfrecord:DIRECTORY",
)


def load(spec: str) -> dict[str, Source]:
    """Opens an image set.

    Args:
        spec: "digits", "fashion_mnist:DIRECTORY", "pack:FILE.npz", "folder:DIRECTORY", "keras:NAME", "tfds:NAME", or
            "tfrecord:DIRECTORY" (with the folders train and test or val). "pack:FILE.npz+LOSSLESS.npz" holds the images
            of the second file out of training and gives them as a part of their own. With "folder+links:DIRECTORY"
            symbolic links may lead out of the folder.

    Returns:
        {"train": Source, "test": Source}; "val" where a folder or a pack has these three; and perhaps further parts.

    Raises:
        ValueError: any other string; the message lists the forms. Each reader adds its own errors.

    Example:
        >>> sets = load("folder:data/flowers")
    """
    kind, _, place = str(spec).partition(":")
    readers: dict[str, Callable[[str], dict[str, Source]]] = {
        "fashion_mnist": fashion_mnist,
        "pack": _pack,
        "folder": image_folder,
        "folder+links": partial(image_folder, follow_links=True),
        "keras": keras_dataset,
        "tfds": tfds,
        "tfrecord": _tfrecords,
    }
    if spec == "digits":
        return digits()
    if kind not in readers or not place:
        raise ValueError(f"data must be one of {', '.join(FORMS)}, received {str(spec)!r}{_suggestion(spec)}")
    return readers[kind](os.path.expanduser(place))  # no shell does behind ":"


def _suggestion(spec: Any) -> str:
    """What a path that names no form may have meant."""
    path = expanded(spec or "absent") if isinstance(spec, str | os.PathLike) else Path("absent")
    if path.is_dir():
        return f": did you mean 'folder:{spec}'?"
    return f": did you mean 'pack:{spec}'?" if path.suffix == ".npz" else ""


def _pack(place: str) -> dict[str, Source]:
    path, mark, lossless = place.partition(".npz+")
    return bridged_pack(f"{path}.npz", os.path.expanduser(lossless)) if mark else jpeg_pack(place)


def _tfrecords(directory: str) -> dict[str, Source]:
    root = Path(directory)
    test = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), root / TEST_FOLDERS[0])
    return {"train": read_tfrecords(root / "train"), "test": read_tfrecords(test)}
