"""What the benchmarks share: flags, images, how rows are shown, what they depend on."""

import contextlib
import importlib.metadata
import math
import platform
import re
from pathlib import Path
from typing import Any

from ds_keras.cli.flags import Flags
from ds_keras.cli.inputs import read_images
from ds_keras.core.timing import cores

NOISE = 2**26  # numbers that are drawn, at most
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "numpy", "onnxruntime", "torch")


def timing_flags(flags: Flags, threads: bool = True, rounds: bool = True) -> None:
    """Defines --rounds and --threads, where a benchmark has them, and --json."""
    if rounds:
        flags.integer("rounds", 30, "Pairs for each row.", lower_bound=3)
    if threads:
        flags.integer("threads", 1, "Threads of LiteRT or ONNX Runtime.", lower_bound=1, upper_bound=1024)
    flags.destination("json", None, "Write the rows to this file too.", file=True)


def image_flags(flags: Flags) -> None:
    """Defines the flags that ``images`` reads."""
    flags.string("data", None, "Images (see ds_keras.data.load: its test part); default noise.")
    flags.string("images", None, "A folder of image files instead.")
    flags.integer("count", 200, "Images, at most.", lower_bound=1)


def images(flags: Flags, shape: tuple[int, int, int]) -> Any:
    """The images that the flags name: (count, height, width, channels) in [0, 255]."""
    import numpy as np

    if flags.data and flags.images:
        raise ValueError(f"give --data or --images, received {flags.data!r} and {flags.images!r}")
    if flags.data:
        from ds_keras import data

        source = data.load(flags.data)["test"]
        source = source.subset(np.random.default_rng(0).permutation(len(source))[: flags.count])
        return source.images(shape[:2])
    if flags.images:
        return read_images(flags.images, shape, flags.count, "--images")
    return noise(flags.count, shape)


def noise(count: int, shape: tuple[int, int, int]) -> Any:
    """The same uniform noise every time: (count, height, width, channels) float32 in [0, 255]."""
    import numpy as np

    if (most := NOISE // math.prod(shape)) < count:
        raise ValueError(f"--count must be at most {most} for noise of {'x'.join(map(str, shape))}, received {count}")
    return np.random.default_rng(0).uniform(0, 255, (count, *shape)).astype("float32")


def show(flags: Flags, rows: list[dict[str, Any]], measured: str, **conditions: Any) -> None:
    """Prints rows, and writes them with what they depend on to --json.

    Args:
        flags: of the command.
        rows: of a benchmark.
        measured: file, preset or layout.
        **conditions: further ones, in place of what the flags say.
    """
    for row in rows:
        print(f"{row['what']:13} {row['level']!s:>14} {row['kind']:14} {_timing(row)}")
    keep(flags, rows, measured, **conditions)


def keep(flags: Flags, rows: list[dict[str, Any]], measured: str, **conditions: Any) -> None:
    """Writes rows with what they depend on to --json, if it is given; arguments as of ``show``."""
    if flags.json:
        from ds_keras.core.files import write_json

        own = {name: flags[name].value for name in ("count", "rounds", "threads") if name in flags}
        names = [flags[name].value for name in ("data", "images") if name in flags]
        found = {
            "measured": measured,
            "images": next(filter(None, names), "noise"),
            "count": None,
            "batch_size": 1,
            "rounds": None,
            "threads": 1,
            **own,
            **conditions,
            "machine": _machine(),
            "python": platform.python_version(),
            "versions": {**_versions(), **conditions.get("versions", {})},
        }
        write_json(flags.json, {**found, "rows": rows})


def _timing(row: dict[str, Any]) -> str:
    """A row's figures."""
    if "ms" in row:
        return f"{row['ms']:9.3f} ms"
    if "mb" in row:
        return f"{row['mb']:9.3f} MB"
    return (
        f"{row['a_ms']:9.3f} ms against {row['b_ms']:9.3f} ms: ratio {row['ratio']:.3f}, p90 {row['ratio_p90']:.3f}; "
        f"p90 {row['a_p90_ms']:.3f} ms"
        + (f"; {row['madds']:.3f} of the MAdds" if "madds" in row else "")
        + (f"; {_speed(row, 'a')} against {_speed(row, 'b')} images/s" if "images" in row else "")
    )


def _speed(row: dict[str, Any], way: str) -> str:
    """Images a second."""
    return f"{1e3 * row['images'] / row[f'{way}_ms']:.1f}"


def _versions() -> dict[str, str]:
    """Versions of what is installed of ``PACKAGES``."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _machine() -> str:
    """The processor's name and its cores."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # Linux
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
        name = found[1] if found else name
    return f"{name}, {cores()}"
