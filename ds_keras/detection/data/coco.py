"""Reads JSON as COCO has it."""

import os
from pathlib import Path

from ds_keras.core.files import expanded, read_json, shown
from ds_keras.data.readers.storage import FileStorage
from ds_keras.detection.boxes import image_size
from ds_keras.detection.data.source import Boxes, BoxSets, check_boxes, folders_of, sets_of

MAX_JSON = 1 << 29  # bytes


def coco(place: str | os.PathLike) -> BoxSets:
    """Reads JSON as COCO has it: "images", "annotations" with a "bbox" in pixels, and "categories".

    Args:
        place: a JSON file with the images beside it; or a folder of folders ``train``, ``val`` (or ``valid``) and
            ``test``, each with one JSON file beside its images; or COCO's own folders: ``annotations`` with
            ``instances_train*.json`` and so on, and the images of ``instances_train2017.json`` in ``train2017``, or in
            ``images/train2017``, or in ``images``. ``val`` is what is tested on where there is no ``test``; where
            nothing says what to test on, a fifth is held out. ``iscrowd`` boxes count as difficult.

    Returns:
        The parts.

    Raises:
        ValueError: a damaged file, other classes in the parts, or an image outside the folder.
    """
    root = expanded(place)
    found = {part: _read_coco(*at) for part, at in _parts(root).items()}
    names = found["train"][2]
    if any(own != names for *_, own in found.values()):
        raise ValueError(f"{shown(root)}: {', '.join(found)} must have the same categories")
    parts = {part: (files, things) for part, (files, things, _) in found.items()}
    return sets_of(parts, FileStorage, names, root.stem)


def _parts(root: Path) -> dict[str, tuple[Path, Path]]:
    """The JSON file of each part, and the folder of its images."""
    if root.is_file():
        return {"train": (root, root.parent)}
    official = root / "annotations"
    if official.is_dir() and list(official.glob("instances_train*.json")):
        found = {}
        for part in ("train", "val", "test"):
            if list(official.glob(f"instances_{part}*.json")):
                path = _only(official, f"instances_{part}*.json")
                name = path.stem.removeprefix("instances_")
                places = (root / name, root / "images" / name, root / "images")
                found[part] = path, next((at for at in places if at.is_dir()), root)
        return found
    return {part: (_only(at, "*.json"), at) for part, at in ({"train": root} | folders_of(root)).items()}


def _only(folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise ValueError(f"{shown(folder)} must hold one JSON file {pattern}, found {len(files)}")
    return files[0]


def _read_coco(path: Path, folder: Path) -> tuple[list[str], list[Boxes], list[str]]:
    """Images, the things on each, and the names of the classes."""
    value = read_json(path, MAX_JSON)
    try:
        names = {int(entry["id"]): str(entry["name"]) for entry in value["categories"]}
        numbers = {key: k for k, key in enumerate(sorted(names))}
        files = {int(entry["id"]): _inside(folder, entry["file_name"]) for entry in value["images"]}
        rows: dict[int, list] = {key: [] for key in files}
        for entry in value["annotations"]:
            x, y, width, height = (float(number) for number in entry["bbox"])
            row = [x, y, x + width, y + height], numbers[int(entry["category_id"])], bool(entry.get("iscrowd"))
            rows[int(entry["image_id"])].append(row)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{shown(path)} is not JSON as COCO has it: {type(error).__name__}: {error}") from None
    things = []
    for key, file in files.items():
        boxes, classes, difficult = zip(*rows[key], strict=True) if rows[key] else ((), (), ())
        things.append(
            check_boxes(list(boxes), list(classes), list(difficult), image_size(file), f"{path}, {file.name}")
        )
    return [str(file) for file in files.values()], things, [names[key] for key in sorted(names)]


def _inside(folder: Path, name: str) -> Path:
    """An image that a file of others names, which must lie in the file's folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the image {shown(name)!r} lies outside {shown(folder)}")
    return path
