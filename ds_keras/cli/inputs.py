"""What commands read: data sets that suit a preset, and folders of images."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import logging

from ds_keras.core.files import expanded, shown
from ds_keras.photos.decode import EXTENSIONS, MAX_NESTING, passed_over

TRACING, PASSES, SPEED = 15, 3, 1e10  # seconds; runs of every level; multiply-adds a second, of ds_mobilenet

if TYPE_CHECKING:
    import numpy as np

    from ds_keras.core.image_model import ImageModel
    from ds_keras.data import Source


def open_data(model: "ImageModel", preset: str, data: str, split: str, by_position: bool = False) -> "Source":
    """The images of a data set, where a preset can be measured on them.

    Args:
        model: the preset's.
        preset: its name, for messages.
        data: see ``ds_keras.data.load``.
        split: part of it.
        by_position: compare classes by their number where their names are not the preset's.

    Returns:
        The part.

    Raises:
        ValueError: unknown data or part, images that the preset does not read, or classes of other names.
    """
    from ds_keras import data as sets

    sources = sets.load(data)
    if split not in sources:
        raise ValueError(f"--split must be one of {sorted(sources)}, received {split!r}")
    source = sources[split]
    if len(source.class_names) != model.num_classes:
        raise ValueError(f"--data has {len(source.class_names)} classes, but {preset} has {model.num_classes}")
    channels = source.image_shape[2], model.image_shape[2]
    if channels[0] != channels[1]:
        raise ValueError(f"--data has images of {channels[0]} channels, but {preset} reads {channels[1]}")
    if model.labels and list(source.class_names) != list(model.labels):
        if not by_position:
            pairs = enumerate(zip(source.class_names, model.labels, strict=True))
            i, (theirs, ours) = next((i, names) for i, names in pairs if names[0] != names[1])
            raise ValueError(
                f"--data has other class names than {preset}: class {i} is {theirs!r}, but {ours!r} in {preset}; give "
                "--by_position if the classes are the same in the same order"
            )
        logging.warning("classes are compared by position: they have other names in --data than in %s", preset)
    return source


def forecast(model: "ImageModel", count: int) -> float:
    """Seconds of one core, roughly, to run images at every level and under every policy; tracing is included."""
    from ds_keras.core import cost

    levels = range(len(getattr(model, "levels", ())))  # none of LC-Net, which costs at most model.madds
    work = sum(cost.madds(model, level) for level in levels) or getattr(model, "madds", 0)
    return TRACING + count * PASSES * work / SPEED


def read_images(folder: str, shape: tuple[int, int, int], count: int, flag: str) -> "np.ndarray":
    """Images of a folder, those of its sub-folders too, for what needs no labels.

    Args:
        folder: to look in.
        shape: (height, width, channels) to resize and crop them to.
        count: images at the most; drawn at random, always the same.
        flag: that named the folder, for messages.

    Returns:
        (count, height, width, channels) uint8.

    Raises:
        ValueError: no image file there.
    """
    import numpy as np

    from ds_keras.data import decode_image, resize_and_crop

    files = image_files(folder, flag)
    chosen = np.random.default_rng(0).permutation(len(files))[:count]
    return np.stack([resize_and_crop(decode_image(files[i], shape[2]), shape[:2]) for i in chosen])


def photo_files(photo: str) -> list[str]:
    """An image file itself, or those in a folder.

    Args:
        photo: path of either.

    Returns:
        At least one path.

    Raises:
        ValueError: there is no such file or folder, or no image in it.
    """
    path = expanded(photo)
    if os.path.isdir(path):
        return [str(file) for file in image_files(path, "photo")]
    if not os.path.isfile(path):
        what = "no regular file" if os.path.lexists(path) else "missing"
        raise ValueError(f"photo must be an image file or a folder of them, {photo!r} is {what}")
    return [photo]


def image_files(folder: str | os.PathLike, name: str) -> list[Path]:
    """The image files in a folder and its sub-folders, sorted; hidden ones and folders of the system are left out.

    Args:
        folder: to look in.
        name: of the flag or argument that named the folder, for messages.

    Returns:
        At least one path.

    Raises:
        ValueError: no image file there, or folders nested deeper than ``MAX_NESTING``.
    """
    files = [file for file in _files_below(Path(folder), 0) if file.suffix.lower() in EXTENSIONS]
    if not files:
        raise ValueError(f"{name} must be a folder of image files, found none in '{shown(folder)}'")
    return files


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    if depth > MAX_NESTING:
        raise ValueError(f"folders nested deeper than {MAX_NESTING}: {shown(folder)}")
    if not folder.is_dir():
        return
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not passed_over(entry.name)), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(folder / entry.name, depth + 1)
        elif entry.is_file():
            yield folder / entry.name


def detector_place(model: str) -> Path:
    """Where a detector lies.

    Args:
        model: name of a shipped one, or a path.

    Raises:
        ValueError: there is neither.
    """
    from ds_keras import zoo

    path = expanded(model)
    return path if path.exists() and model not in zoo.list_models("detection") else zoo.folder_of(model)


def load_network(preset: str) -> Any:
    """The network of a preset, whatever it is for.

    Args:
        preset: name, alias or directory.
    """
    from ds_keras import zoo

    if zoo.kind(preset) in zoo.TASKS:
        from ds_keras import detection

        return detection.load(preset)
    return zoo.load(preset)
