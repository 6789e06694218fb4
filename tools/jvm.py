"""Runs the Android code on this machine: its session on a JVM, over the LiteRT of the Python package."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

ANDROID = Path(__file__).resolve().parents[1] / "android"
OLDEST = 22  # the first Java whose interface to C libraries is final
PARTS = {  # sources, oldest Java that must run them: what an app takes is Java 8
    "jvm/src/org": OLDEST,
    "reader/src/main": 8,
    "litert/src/main": 8,
    "jvm/src/io": OLDEST,
}
QUICK = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]  # a compiler that runs for a second need not compile itself


class Runner:
    """The Android session, compiled.

    Args:
        folder: an empty one, which stays until the runner is done.

    Raises:
        ValueError: no JDK of Java 22 or later, no ``ai_edge_litert``, or code that does not compile.
    """

    def __init__(self, folder: Path):
        home = find_jdk()
        if home is None:
            raise ValueError(f"needs a JDK of Java {OLDEST} or later in JAVA_HOME, on the PATH or in /usr/lib/jvm")
        spec = importlib.util.find_spec("ai_edge_litert")
        if spec is None:
            raise ValueError("needs LiteRT: pip install ai-edge-litert")
        library = Path(spec.submodule_search_locations[0]) / "libLiteRt.so"
        self.folder, classes = folder, folder / "classes"
        classes.mkdir()
        lint = ["-Xlint:all,-options,-restricted", "-Werror", "-encoding", "UTF-8"]
        for part, release in PARTS.items():
            sources = sorted((ANDROID / part).rglob("*.java"))
            _output([home / "bin/javac", *QUICK, *lint, "--release", release, "-cp", classes, "-d", classes, *sources])
        self.java = [home / "bin/java", "--enable-native-access=ALL-UNNAMED", f"-Dlitert={library}", "-cp", classes]

    def __call__(self, command: str, bundle: str | os.PathLike, images: np.ndarray, *rest: Any) -> list[str]:
        """The lines that ``Runner.java`` prints.

        Args:
            command: "run" or "time".
            bundle: path.
            images: (count, ...) of any shape.
            *rest: what the command takes behind the size of an image.

        Raises:
            ValueError: the JVM does not end well.
        """
        path = self.folder / "images"
        path.write_bytes(images.astype("<f4").tobytes())
        main, cache = "io.github.dskeras.litert.Runner", self.folder / "cache"
        return _output([*self.java, main, command, bundle, cache, path, images[0].size, *rest]).splitlines()


def find_jdk() -> Path | None:
    """The home of a JDK that is new enough, if there is one."""
    compiler = shutil.which("javac")
    homes = [os.environ.get("JAVA_HOME"), compiler and Path(compiler).resolve().parents[1]]
    for home in map(Path, [*filter(None, homes), *sorted(Path("/usr/lib/jvm").glob("*"))]):
        found = re.match(r"\d+", version(home))
        if found and int(found[0]) >= OLDEST and (home / "bin/javac").exists():
            return home
    return None


def version(home: Path) -> str:
    """The version that a JDK says of itself; "" where it says none."""
    release = home / "release"
    found = re.search(r'JAVA_VERSION="([^"]+)', release.read_text()) if release.is_file() else None
    return found[1] if found else ""


def _output(command: list[Any]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
