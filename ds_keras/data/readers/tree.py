"""Which files of an image folder are images: what is skipped, what is refused, and why."""

import contextlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ds_keras.core.files import shown
from ds_keras.data.decode import looks_like_an_image
from ds_keras.photos.decode import EXTENSIONS, MAX_NESTING, SYSTEM_FOLDERS

TRAIN_FOLDERS = ("train", "training", "seg_train")
TEST_FOLDERS = ("test", "val", "validation", "testing", "seg_test", "valid")
VAL_FOLDERS = ("val", "validation", "valid")  # where there is another test folder


class Tree:
    """An image folder. Counts what it skips.

    Args:
        root: the folder.
        follow_links: symbolic links may lead out of it.

    Raises:
        FileNotFoundError: no such folder.
    """

    def __init__(self, root: Path, follow_links: bool = False):
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not a folder")
        self.root, self.follow_links = root, follow_links
        self.skipped: dict[str, str] = {}  # what each path is
        self._inside = root.resolve()

    def folders(self, folder: Path) -> dict[str, Path]:
        """The folders in a folder by name, in Unicode's composed form (NFC); hidden and system folders are skipped.

        Raises:
            ValueError: two names that differ in their Unicode form only, or a link out of the root.
        """
        found: dict[str, Path] = {}
        for entry in sorted(folder.iterdir()):
            if not entry.is_dir() or self._passed_over(entry):
                continue
            self._check_link(entry)
            name = unicodedata.normalize("NFC", entry.name)
            if name in found:
                raise ValueError(f"{found[name]} and {entry} have the same name in different Unicode forms")
            found[name] = entry
        return dict(sorted(found.items()))

    def images(self, folder: Path) -> list[str]:
        """Paths of the images in a folder and below it, in an order that does not depend on the file system."""
        return sorted(path for path in self._files(folder, set(), 0) if self._is_image(path))

    def splits(self) -> tuple[Path, Path | None, Path | None]:
        """The folders of the training, test and validation images; the root itself and None where there are none.

        Raises:
            ValueError: a test folder without a training folder.
        """
        found = {name.casefold(): path for name, path in self.folders(self.root).items()}
        train = next((found[name] for name in TRAIN_FOLDERS if name in found), None)
        test = next((found[name] for name in TEST_FOLDERS if name in found), None)
        val = next((found[name] for name in VAL_FOLDERS if name in found and found[name] != test), None)
        if train is not None and (test is not None or train.name == "train" or len(found) == 1):
            return self._inner(train), test and self._inner(test), val and self._inner(val)
        if test is not None and test.name in TEST_FOLDERS[:3]:
            raise ValueError(f"{self.root} has the folder {test.name} but no train folder")
        return self.root, None, None

    def _inner(self, split: Path) -> Path:
        """The folder of the same name within a split's, where there is nothing else: archives are often packed so."""
        inside = self.folders(split)
        return inside[split.name] if list(inside) == [split.name] else split

    def check_depth(self, folders: dict[str, Path]) -> None:
        """Refuses "classes" that all hold the same folders and no image: the classes lie below them.

        Raises:
            ValueError: they do.
        """
        below = [set(self.folders(path)) for path in folders.values()]
        if len(below) < 2 or len(below[0]) < 2 or any(names != below[0] for names in below):
            return
        if not any(entry.suffix.lower() in EXTENSIONS for path in folders.values() for entry in path.iterdir()):
            raise ValueError(
                f"{self.root}: {sorted(folders)} cannot be classes, because each holds the same folders "
                f"{sorted(below[0])}; if those are the classes, give one of {sorted(folders)} as the directory"
            )

    def report(self) -> str:
        """What was skipped so far, for a log; empty where nothing was."""
        return ", ".join(f"{count} {what}" for what, count in sorted(Counter(self.skipped.values()).items()))

    def _files(self, folder: Path, seen: set[str], depth: int) -> Iterator[str]:
        if depth > MAX_NESTING:
            raise ValueError(f"{shown(self.root)} holds folders nested deeper than {MAX_NESTING}: {shown(folder)}")
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above it
            return
        seen.add(real)
        with os.scandir(folder) as entries:
            for entry in entries:
                if self._passed_over(Path(entry.path)):
                    continue
                if entry.is_symlink():
                    self._check_link(Path(entry.path))
                if entry.is_dir(follow_symlinks=self.follow_links):
                    yield from self._files(Path(entry.path), seen, depth + 1)
                elif entry.is_file():
                    yield entry.path
                else:
                    self.skipped[entry.path] = "not regular files"

    def _passed_over(self, path: Path) -> bool:
        if path.name.startswith("."):
            kind = "hidden"
        elif path.name.casefold() in SYSTEM_FOLDERS and path.is_dir():
            kind = "of the system"
        else:
            return False
        self.skipped[os.fspath(path)] = kind
        return True

    def _is_image(self, path: str) -> bool:
        if path.lower().endswith(EXTENSIONS):
            return True
        with contextlib.suppress(OSError):
            if looks_like_an_image(path):
                return True
        self.skipped[path] = "not images"
        return False

    def _check_link(self, path: Path) -> None:
        if self.follow_links or not path.is_symlink():
            return
        target = path.resolve()
        if not target.is_relative_to(self._inside):
            raise ValueError(
                f"{path} is a link out of {self.root}, to {target}: give follow_links=True (on the command line "
                f"folder+links:{self.root}) if you trust it"
            )
