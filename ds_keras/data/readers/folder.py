"""Image folders: a folder for each class."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

import numpy as np

from ds_keras.data.decode import EXTENSIONS, decode
from ds_keras.data.readers.storage import FileStorage
from ds_keras.data.source import Source

TEST_FOLDERS = ("test", "val", "validation")
_log = logging.getLogger(__name__)


@overload
def image_folder(
    directory: str | os.PathLike, split: None = None, held_out: float | int = 0.1, seed: int = 0, verify: bool = True
) -> dict[str, Source]: ...


@overload
def image_folder(
    directory: str | os.PathLike, split: str, held_out: float | int = 0.1, seed: int = 0, verify: bool = True
) -> Source: ...


def image_folder(
    directory: str | os.PathLike,
    split: str | None = None,
    held_out: float | int = 0.1,
    seed: int = 0,
    verify: bool = True,
) -> dict[str, Source] | Source:
    """Reads ``directory/{train,test}/<class>/*`` or ``directory/<class>/*``; classes are sorted by name.

    Images are .jpg, .jpeg, .png, .bmp, .gif (first frame), .webp or .tif(f) files, in the class folder or below it.
    They are decoded on the fly, upright and as RGB (see ``decode_image``). Files that cannot be decoded are logged by
    name, listed in ``source.corrupt`` and left out.

    Args:
        directory: the folder. Its test folder may be called test, val or validation.
        split: "train" or "test" for that source alone.
        held_out: fraction or number of the images that become the test set where there is no test folder.
        seed: of that choice.
        verify: decodes every file once. Without it, opening is fast, a corrupt file stops the training, and plain
            JPEG files are decoded in Python too, which is slower.

    Returns:
        {"train": Source, "test": Source}, or one of them.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no image, fewer than two classes, a class without (decodable) images, a test class that training
            does not know, or an unknown ``split``.

    Example:
        >>> sets = image_folder("data/flowers", held_out=0.2)
        >>> sets["train"].class_names
        ['daisy', 'rose']
    """
    if split not in (None, "train", "test"):
        raise ValueError(f"split must be None, 'train' or 'test', received {split!r}")
    root = Path(directory).expanduser()  # no shell does after "folder:"
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder")
    test = next((root / name for name in TEST_FOLDERS if (root / name).is_dir()), None)
    if (root / "train").is_dir():
        train, classes = _read(root / "train", None, verify)
    elif test is None:
        train, classes = _read(root, None, verify)
    else:
        raise ValueError(f"{root} has the folder {test.name} but no train folder")
    if test is None:
        sources = dict(zip(("train", "test"), train.split(held_out, seed), strict=True))
        _log.warning(
            "%s has no train and test folders: %d of its %d images, drawn with seed %d, are the test set",
            *(root, len(sources["test"]), len(train), seed),
        )
    else:
        sources = {"train": train, "test": _read(test, classes, verify)[0]}
    return sources if split is None else sources[split]


def _read(root: Path, classes: list[str] | None, verify: bool) -> tuple[Source, list[str]]:
    found = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if classes is None and len(found) < 2:
        raise ValueError(f"{root} must hold a folder for each of at least two classes, found {found}")
    classes = found if classes is None else classes
    unknown = sorted(set(found) - set(classes))
    if unknown or not found:
        raise ValueError(
            f"{root} must hold folders named like the training classes {classes}, found {unknown or found}"
        )
    paths, labels = [], []
    for name in found:
        files = _images(root / name)
        if not files:
            raise ValueError(f"the class folder {root / name} holds no image ({', '.join(EXTENSIONS)})")
        paths += files
        labels += [classes.index(name)] * len(files)
    plain, corrupt = None, list[str]()
    if verify:
        keep, plain, corrupt = _verify(paths)
        for name in found:
            label = classes.index(name)
            if not any(good for good, each in zip(keep, labels, strict=True) if each == label):
                raise ValueError(f"the class folder {root / name} holds no image that can be decoded")
        paths, labels, plain = _kept(paths, keep), _kept(labels, keep), plain[keep]
    return Source(FileStorage(paths, plain), np.array(labels), classes, str(root), corrupt=corrupt), classes


def _images(folder: Path) -> list[str]:
    """Paths of the images in a folder and below it, in an order that does not depend on the file system."""
    found = []
    for parent, _, files in os.walk(folder):
        found += [os.path.join(parent, file) for file in files if file.lower().endswith(EXTENSIONS) and file[0] != "."]
    return sorted(found)


def _verify(paths: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Decodes every file: which are good, which are plain JPEG files, and the names of the others."""

    def check(path: str) -> bool | str:
        try:
            return decode(path).plain
        except (OSError, ValueError) as error:
            return str(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(check, paths))
    corrupt = [path for path, result in zip(paths, results, strict=True) if isinstance(result, str)]
    for result in results:
        if isinstance(result, str):
            _log.warning("left out: %s", result)
    if corrupt:
        _log.warning("%d of %d images are left out, they cannot be decoded", len(corrupt), len(paths))
    keep = np.array([not isinstance(result, str) for result in results])
    return keep, np.array([result is True for result in results]), corrupt


def _kept(values: list, keep: np.ndarray) -> list:
    return [value for value, good in zip(values, keep, strict=True) if good]
