"""Image folders: a folder for each class."""

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

import numpy as np

from ds_keras.core.files import expanded
from ds_keras.data.decode import decode
from ds_keras.data.readers.storage import FileStorage
from ds_keras.data.readers.tree import TEST_FOLDERS, Tree
from ds_keras.data.source import Source
from ds_keras.photos.decode import EXTENSIONS

__all__ = ["TEST_FOLDERS", "image_folder"]
_log = logging.getLogger(__name__)


@overload
def image_folder(
    directory: str | os.PathLike,
    split: None = None,
    held_out: float | int = 0.1,
    seed: int = 0,
    verify: bool = True,
    follow_links: bool = False,
) -> dict[str, Source]: ...


@overload
def image_folder(
    directory: str | os.PathLike,
    split: str,
    held_out: float | int = 0.1,
    seed: int = 0,
    verify: bool = True,
    follow_links: bool = False,
) -> Source: ...


def image_folder(
    directory: str | os.PathLike,
    split: str | None = None,
    held_out: float | int = 0.1,
    seed: int = 0,
    verify: bool = True,
    follow_links: bool = False,
) -> dict[str, Source] | Source:
    """Reads ``directory/{train,test}/<class>/*`` or ``directory/<class>/*``; classes are sorted by name.

    Images are .jpg, .jpeg, .png, .bmp, .gif (first frame), .webp or .tif(f) files, and others that begin as such, in
    the class folder or below it. They are decoded on the fly, upright and as RGB (see ``decode_image``). Files that
    cannot be decoded are logged by name, listed in ``source.corrupt`` and left out. Hidden files, folders of the system
    and what is no regular file are skipped; their number is logged.

    Args:
        directory: the folder. Its test folder may be called test, val, validation, valid or testing, its training
            folder train or training, in any case. Beside a test folder, val, validation or valid is a third part.
        split: "train", "test" or "val" for that source alone.
        held_out: fraction or number of the images that become the test set where there is no test folder.
        seed: of that choice.
        verify: decodes every file once. Without it, opening is fast, a corrupt file stops the training, and plain
            JPEG files are decoded in Python too, which is slower.
        follow_links: symbolic links may lead out of the folder.

    Returns:
        {"train": Source, "test": Source}, with "val" where there is a third part, or one of them.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no image, fewer than two classes, a class without (decodable) images, a test class that training
            does not know, "classes" that all hold the same folders, a link out of the folder, or an unknown ``split``.

    Example:
        >>> sets = image_folder("data/flowers", held_out=0.2)
        >>> sets["train"].class_names
        ['daisy', 'rose']
    """
    if split not in (None, "train", "test", "val"):
        raise ValueError(f"split must be None, 'train', 'test' or 'val', received {split!r}")
    tree = Tree(expanded(directory), follow_links)  # no shell expands "~" after "folder:"
    root = tree.root
    train_folder, test_folder, val_folder = tree.splits()
    train, classes = _read(tree, train_folder, None, verify)
    if test_folder is None:
        sources = dict(zip(("train", "test"), train.split(held_out, seed), strict=True))
        _log.warning(
            "%s has no train and test folders: %d of its %d images, drawn with seed %d, are the test set",
            *(root, len(sources["test"]), len(train), seed),
        )
    else:
        parts = {"test": test_folder, "val": val_folder}
        sources = {"train": train} | {name: _read(tree, f, classes, verify)[0] for name, f in parts.items() if f}
    if tree.skipped:
        _log.warning("%s: skipped %s", root, tree.report())
    if verify:
        for name in sorted(set(sources) - {"train"}):
            _report_shared(sources["train"], sources[name], name)
    if split is not None and split not in sources:
        raise ValueError(f"split must be one of {sorted(sources)} for {root}, received {split!r}")
    return sources if split is None else sources[split]


def _read(tree: Tree, root: Path, classes: list[str] | None, verify: bool) -> tuple[Source, list[str]]:
    folders = tree.folders(root)
    found = list(folders)
    if classes is None and len(found) < 2:
        raise ValueError(f"{root} must hold a folder for each of at least two classes, found {found}")
    tree.check_depth(folders)
    classes = found if classes is None else classes
    unknown = sorted(set(found) - set(classes))
    if unknown or not found:
        raise ValueError(
            f"{root} must hold folders named like the training classes {classes}, found {unknown or found}"
        )
    paths, labels = [], []
    for name in found:
        files = tree.images(folders[name])
        if not files:
            raise ValueError(f"the class folder {folders[name]} holds no image ({', '.join(EXTENSIONS)})")
        paths += files
        labels += [classes.index(name)] * len(files)
    plain, corrupt = None, list[str]()
    if verify:
        keep, plain, corrupt = _verify(paths)
        for name in found:
            label = classes.index(name)
            if not any(good for good, each in zip(keep, labels, strict=True) if each == label):
                raise ValueError(f"the class folder {folders[name]} holds no image that can be decoded")
        paths, labels, plain = _kept(paths, keep), _kept(labels, keep), plain[keep]
    return Source(FileStorage(paths, plain), np.array(labels), classes, str(root), corrupt=corrupt), classes


def _report_shared(train: Source, other: Source, name: str) -> None:
    """Logs the pictures that are in both parts, by the bytes of their files."""

    def paths(source: Source) -> list[str]:
        storage = source.storage
        return [storage.paths[index] for index in source.indices] if isinstance(storage, FileStorage) else []

    by_size = defaultdict(list)
    for path in paths(train):
        by_size[os.path.getsize(path)].append(path)
    known: dict[int, dict[str, str]] = {}  # by size, then by hash: only files of one size are read
    shared = []
    for path in paths(other):
        size = os.path.getsize(path)
        if size not in by_size:
            continue
        if size not in known:
            known[size] = {_hash(other): other for other in by_size[size]}
        twin = known[size].get(_hash(path))
        shared += [] if twin is None else [(twin, path)]
    if shared:
        _log.warning(
            "%d of %d %s images are training images too, the first is %s, the same as %s",
            *(len(shared), len(other), name, shared[0][1], shared[0][0]),
        )


def _hash(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
