"""Reads JSON as COCO has it."""

import os
from pathlib import Path

from ds_keras.core.files import expanded, read_json, shown
from ds_keras.data.readers.storage import FileStorage
from ds_keras.detection.boxes import image_size
from ds_keras.detection.data.source import TEST_FOLDERS, BoxSets, BoxSource, check_boxes, sets_of

MAX_JSON = 1 << 29  # bytes


def coco(place: str | os.PathLike) -> BoxSets:
    """Reads JSON as COCO has it: "images", "annotations" with a "bbox" in pixels, and "categories".

    Args:
        place: a JSON file with the images beside it; or a folder of folders ``train`` and ``test`` (or ``val``,
            ``valid``), each with one JSON file beside its images. Where nothing says what to test on, a fifth is held
            out. ``iscrowd`` boxes count as difficult.

    Returns:
        The parts.

    Raises:
        ValueError: a damaged file, other classes in the parts, or an image outside the folder.
    """
    root = expanded(place)
    if root.is_file():
        return sets_of({"train": _read_coco(root)})
    sources = {}
    for part, names in {"train": ("train",), "test": TEST_FOLDERS}.items():
        at = next((root / name for name in names if (root / name).is_dir()), root if part == "train" else None)
        if at is not None:
            files = sorted(at.glob("*.json"))
            if len(files) != 1:
                raise ValueError(f"{shown(at)} must hold one JSON file, found {len(files)}")
            sources[part] = _read_coco(files[0])
    if "test" in sources and sources["test"].class_names != sources["train"].class_names:
        raise ValueError(f"{shown(root)}: train and test must have the same categories")
    return sets_of(sources)


def _read_coco(path: Path) -> BoxSource:
    value = read_json(path, MAX_JSON)
    try:
        names = {int(entry["id"]): str(entry["name"]) for entry in value["categories"]}
        numbers = {key: k for k, key in enumerate(sorted(names))}
        files = {int(entry["id"]): _inside(path.parent, entry["file_name"]) for entry in value["images"]}
        rows: dict[int, list] = {key: [] for key in files}
        for entry in value["annotations"]:
            x, y, width, height = (float(number) for number in entry["bbox"])
            row = [x, y, x + width, y + height], numbers[int(entry["category_id"])], bool(entry.get("iscrowd"))
            rows[int(entry["image_id"])].append(row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{shown(path)} is not JSON as COCO has it: {type(error).__name__}: {error}") from None
    things = []
    for key, file in files.items():
        boxes, classes, difficult = zip(*rows[key], strict=True) if rows[key] else ((), (), ())
        things.append(
            check_boxes(list(boxes), list(classes), list(difficult), image_size(file), f"{path}, {file.name}")
        )
    ordered = [names[key] for key in sorted(names)]
    return BoxSource(
        FileStorage([str(file) for file in files.values()]), things, ordered, f"{path.parent.name}/{path.stem}"
    )


def _inside(folder: Path, name: str) -> Path:
    """An image that a file of others names, which must lie in the file's folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the image {shown(name)!r} lies outside {shown(folder)}")
    return path
