"""Reads folders as PASCAL VOC has them: an XML file for each image."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from ds_keras.core.files import expanded, read_limited, shown
from ds_keras.data.readers.storage import FileStorage
from ds_keras.detection.boxes import image_size
from ds_keras.detection.data.source import BoxSets, check_boxes, folders_of, sets_of
from ds_keras.photos.decode import EXTENSIONS

MAX_XML = 4 << 20  # bytes of an XML file, and of a list of them
_ENDS = (*EXTENSIONS, *(end.upper() for end in EXTENSIONS))


def voc(folder: str | os.PathLike) -> BoxSets:
    """Reads a folder as PASCAL VOC has it: an XML file for each image.

    The XML files lie in ``Annotations``, the images in ``JPEGImages`` or ``images``, and ``ImageSets/Main`` may list
    the parts; or the folders ``train``, ``val`` (or ``valid``) and ``test`` hold images and XML files side by side; or
    the folder itself does. ``val`` is what is tested on where there is no ``test``; where nothing says what to test on,
    a fifth of the images is held out.

    Args:
        folder: to read.

    Returns:
        The parts.

    Raises:
        ValueError: no XML file, or one that is damaged, declares a DTD, or has no image. The message names it.
    """
    root = expanded(folder)
    parts = {part: paths for part, paths in _parts(root).items() if paths or part != "val"}
    if not all(parts.values()):
        raise ValueError(f"{shown(root)} must hold XML files of images, found none")
    things = {part: [_read_xml(path) for path in paths] for part, paths in parts.items()}
    names = sorted({thing[0] for group in things.values() for one in group for thing in one})
    numbers = {name: k for k, name in enumerate(names)}
    sources = {}
    for part, paths in parts.items():
        images = [_image_of(root, path) for path in paths]
        found = []
        for path, image, one in zip(paths, images, things[part], strict=True):
            classes, difficult = [numbers[name] for name, _, _ in one], [truth for _, truth, _ in one]
            corners = [box for _, _, box in one]
            found.append(check_boxes(corners, classes, difficult, image_size(image), str(path)))
        sources[part] = [str(image) for image in images], found
    return sets_of(sources, FileStorage, names, root.name)


def _parts(root: Path) -> dict[str, list[Path]]:
    """The XML files of each part."""
    beside = root / "Annotations" if (root / "Annotations").is_dir() else root / "annotations"
    if not beside.is_dir():
        return {part: sorted(at.glob("*.xml")) for part, at in ({"train": root} | folders_of(root)).items()}
    files = {path.stem: path for path in sorted(beside.glob("*.xml"))}
    lists = {name: root / "ImageSets" / "Main" / f"{name}.txt" for name in ("trainval", "train", "val", "test")}
    known = {name for name, path in lists.items() if path.is_file()}
    wanted = {"train": "trainval" if {"trainval", "test"} <= known else "train", "val": "val", "test": "test"}
    if wanted["train"] not in known or not {"val", "test"} & known:
        return {"train": list(files.values())}
    found = {part: _listed(lists[name], files) for part, name in wanted.items() if name in known}
    val = set(found.get("val", ()))
    return {**found, "train": [path for path in found["train"] if path not in val]}


def _listed(path: Path, files: dict[str, Path]) -> list[Path]:
    """The XML files that a list of VOC names; its lines may have a second column."""
    lines = read_limited(path, MAX_XML).decode(errors="replace").splitlines()
    names = [line.split()[0] for line in lines if line.split()]
    if unknown := [name for name in names if name not in files]:
        raise ValueError(f"{shown(path)} lists {shown(unknown[0])!r}, of which there is no XML file")
    return [files[name] for name in names]


def _read_xml(path: Path) -> list[tuple[str, bool, list[float]]]:
    """(class, whether it is difficult, box in pixels) of every thing that a VOC file describes."""
    try:
        root = _parse_xml(read_limited(path, MAX_XML))
        return [_read_object(thing) for thing in root.iter("object")]
    except (ValueError, ElementTree.ParseError, expat.ExpatError) as error:
        raise ValueError(f"{shown(path)}: {error}") from None


def _parse_xml(data: bytes) -> ElementTree.Element:
    """The root of an XML document without a DTD, which alone could declare entities or name other files."""

    def refuse(*_: Any) -> None:
        raise ValueError("a DTD is not allowed")

    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()


def _read_object(thing: ElementTree.Element) -> tuple[str, bool, list[float]]:
    name = (thing.findtext("name") or "").strip()
    corners = [thing.findtext(f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
    if not name or None in corners:
        raise ValueError(f"an object must have a name and a bndbox, received {shown(name)!r} and {corners}")
    return name, (thing.findtext("difficult") or "0").strip() == "1", [float(corner or "") for corner in corners]


def _image_of(root: Path, path: Path) -> Path:
    """The image of an XML file: the same name, in a folder for images or beside it."""
    folders = [root / "JPEGImages", root / "images", path.parent]
    for candidate in (folder / f"{path.stem}{end}" for folder in folders for end in _ENDS):
        if candidate.is_file():
            return candidate
    raise ValueError(f"{shown(path)} has no image: looked for {shown(path.stem)}.jpg and others in {_names(folders)}")


def _names(folders: list[Path]) -> str:
    return ", ".join(shown(folder) for folder in dict.fromkeys(folders) if folder.is_dir())
