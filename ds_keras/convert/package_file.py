"""A file of weights inside a package of the Python Package Index: found, and its sha256 checked. No code of it runs."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ds_keras.core.files import sha256


@dataclass(frozen=True)
class PackageFile:
    """Where a network's weights come from.

    Args:
        package: on the Python Package Index.
        install: the command that installs it, for messages.
        file: inside the package's module.
        sha256: of the file.
        licence: of the weights.
    """

    package: str
    install: str
    file: str
    sha256: str
    licence: str

    def checked_path(self) -> Path:
        """Finds the file and compares its sha256.

        Returns:
            Its path.

        Raises:
            ImportError: the package is not installed.
            ValueError: the package lacks the file, or has one of another sha256.
        """
        found = importlib.util.find_spec(self.package.replace("-", "_"))
        if found is None or not found.submodule_search_locations:
            raise ImportError(f"the weights need the package {self.package}: {self.install}")
        path = Path(found.submodule_search_locations[0]) / self.file
        digest = sha256(path) if path.is_file() else "no file"
        if digest != self.sha256:
            raise ValueError(f"{path} must have the sha256 {self.sha256}, received {digest}: {self.install}")
        return path
