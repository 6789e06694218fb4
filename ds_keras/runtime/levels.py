"""The networks of a bundle: the shared start, and its levels, each made and opened when it is first used."""

import contextlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

from ds_keras.files import sweep, write_bytes
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.manifest import ROUTE
from ds_keras.runtime.network import ENGINES, Compiled, Interpreted, compiled_with_cache


class Levels:
    """The shared start and the levels of a bundle, in LiteRT. For one thread at a time.

    Args:
        bundle: opened.
        num_threads: of LiteRT.
        cache_dir: keeps the files of the levels for the next start; None makes them in memory.
        keep: levels that stay open; the one unused for longest is closed first.
        engine: "interpreter" or "compiled".
        weight_cache: keeps XNNPACK's packed weights in ``cache_dir`` too; with "compiled" only.

    Raises:
        ValueError: bad argument, or a damaged part.
        ImportError: ``ai_edge_litert`` is missing.
    """

    def __init__(self, bundle: Bundle, num_threads: int, cache_dir: Any, keep: int, engine: str, weight_cache: bool):
        for name, value in {"num_threads": num_threads, "keep": keep}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, received {value!r}")
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {ENGINES}, received {engine!r}")
        if weight_cache and (engine != "compiled" or cache_dir is None):
            raise ValueError(
                f"weight_cache needs engine='compiled' and a cache_dir, received {engine!r} and {cache_dir!r}"
            )
        if cache_dir is not None and Path(cache_dir).exists() and not Path(cache_dir).is_dir():
            raise ValueError(f"cache_dir must be a directory, received the file {str(cache_dir)!r}")
        self.bundle, self.num_threads, self.keep = bundle, num_threads, keep
        self.engine, self.weight_cache = engine, weight_cache
        self.cache_dir = None if cache_dir is None else Path(cache_dir) / bundle.id[:16]
        if self.cache_dir is not None:
            sweep(self.cache_dir)
        self.opened: OrderedDict[int, Any] = OrderedDict()
        self.route = self._network(bundle.part(ROUTE), ROUTE, "route")
        if set(self.route.outputs) != {"features", "gate"}:
            raise ValueError(f"{bundle.path}: {ROUTE} must give features and gate")

    def __getitem__(self, level: int) -> Any:
        """A level's network, opened."""
        if level not in self.opened:
            self.opened[level] = self._network(self.data(level), f"level {level}", f"body_{level}")
            if len(self.opened) > self.keep:
                self.opened.popitem(last=False)
        self.opened.move_to_end(level)
        return self.opened[level]

    def path(self, level: int) -> Path:
        """Where the cache keeps a level's file."""
        return self.cache_dir / f"body_{level}.tflite"

    def data(self, level: int, keep: bool = False) -> bytes:
        """A level's file: the cached one if whole, else made anew and cached; ``keep`` raises where that fails."""
        if self.cache_dir is None:
            return self.bundle.level(level)
        path = self.path(level)
        with contextlib.suppress(OSError):
            if self.bundle.is_level(level, data := path.read_bytes()):
                return data
        data = self.bundle.level(level)
        try:
            write_bytes(path, data)
        except OSError:  # a full disk costs the next start some time, not this one its answer
            if keep:
                raise
        return data

    def _network(self, data: bytes, what: str, name: str) -> Any:
        try:
            if self.engine == "interpreter":
                return Interpreted(data, self.num_threads)
            if not self.weight_cache:
                return Compiled(data, self.num_threads)
            return compiled_with_cache(data, self.num_threads, self.cache_dir / f"{name}.xnnpack")
        except (RuntimeError, ValueError, KeyError) as error:
            raise ValueError(f"{self.bundle.path}: {what} is damaged, LiteRT refuses it: {error}") from None
