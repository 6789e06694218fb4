"""The networks of a bundle, each made and opened when it is first used."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ds_keras.core.files import expanded, read_limited, sweep, write_bytes
from ds_keras.runtime.bundle import Bundle
from ds_keras.runtime.graph_check import check_graph, output_shape
from ds_keras.runtime.manifest import output_shapes
from ds_keras.runtime.network import ENGINES, Compiled, Interpreted, compiled_with_cache

MAX_THREADS = 1024


class Levels:
    """The files of a bundle in LiteRT. For one thread at a time.

    Args:
        bundle: opened.
        num_threads: of LiteRT.
        cache_dir: keeps the files for the next start; None makes them in memory.
        keep: entries and bodies that stay open; the one unused for longest is closed first.
        engine: "interpreter" or "compiled".
        weight_cache: keeps XNNPACK's packed weights in ``cache_dir`` too; with "compiled" only.

    Raises:
        ValueError: bad argument.
        ImportError: ``ai_edge_litert`` is missing.
    """

    def __init__(self, bundle: Bundle, num_threads: int, cache_dir: Any, keep: int, engine: str, weight_cache: bool):
        for name, value in {"num_threads": num_threads, "keep": keep}.items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a positive integer, received {value!r}")
        if num_threads > MAX_THREADS:
            raise ValueError(f"num_threads must be at most {MAX_THREADS}, received {num_threads}")
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {ENGINES}, received {engine!r}")
        if weight_cache and (engine != "compiled" or cache_dir is None):
            raise ValueError(
                f"weight_cache needs engine='compiled' and a cache_dir, received {engine!r} and {cache_dir!r}"
            )
        cache_dir = None if cache_dir is None else expanded(cache_dir)
        if cache_dir is not None and cache_dir.exists() and not cache_dir.is_dir():
            raise ValueError(f"cache_dir must be a directory, received the file {str(cache_dir)!r}")
        self.bundle, self.num_threads, self.keep = bundle, num_threads, keep
        self.engine, self.weight_cache = engine, weight_cache
        self.cache_dir = None if cache_dir is None else cache_dir / bundle.id[:16]
        if self.cache_dir is not None:
            sweep(self.cache_dir)
        self.opened: OrderedDict[str, Any] = OrderedDict()
        self.results = output_shapes(bundle.manifest)

    @cached_property
    def route(self) -> Any:
        """The shared start and the gate: images to "features" and "gate"."""
        return self._network("route")

    def entry(self, level: int) -> Any:
        """A level from the images on: to its ``results``, and to the "features" that a larger level's body reads."""
        return self.open(f"entry_{level}")

    def body(self, level: int) -> Any:
        """A level behind the shared start: features to its ``results``."""
        return self.open(f"body_{level}")

    def open(self, name: str) -> Any:
        """The network of a file, opened."""
        if name == "route":
            return self.route
        network = self.opened.get(name)
        if network is None:
            network = self.opened[name] = self._network(name)
            self._trim()
        self.opened.move_to_end(name)
        return network

    @contextlib.contextmanager
    def keeping(self, files: int) -> Iterator[None]:
        """At least so many files stay open in here."""
        keep, self.keep = self.keep, max(self.keep, files)
        try:
            yield
        finally:
            self.keep = keep
            self._trim()

    def _trim(self) -> None:
        while len(self.opened) > self.keep:
            self.opened.popitem(last=False)

    def path(self, name: str) -> Path:
        """Where the cache keeps a file."""
        if self.cache_dir is None:
            raise ValueError("cache_dir must be given, received None")
        return self.cache_dir / f"{name}.tflite"

    def data(self, name: str, keep: bool = False) -> bytes:
        """A file: the cached one if whole, else made anew and cached; ``keep`` raises where that fails."""
        if self.cache_dir is None:
            return self.bundle.file(name)
        path = self.path(name)
        with contextlib.suppress(ValueError):  # there is none, or a pipe, a device, a larger file
            if self.bundle.is_file(name, data := read_limited(path, self.bundle.manifest["files"][name]["size"])):
                return data
        data = self.bundle.file(name)
        try:
            write_bytes(path, data)
        except OSError:  # a full disk costs the next start some time, not this one its answer
            if keep:
                raise
        return data

    def _network(self, name: str) -> Any:
        data, where = self.data(name), f"{self.bundle.path}: {name}"
        try:
            check_graph(data)
            network = self._engine(data, name, where)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ValueError(f"{where} is damaged, it cannot be opened: {error}") from None
        if set(network.outputs) != (wanted := set(self._shapes(name))):
            raise ValueError(f"{where} must give {sorted(wanted)}, it gives {sorted(network.outputs)}")
        shape = tuple(self.bundle.manifest["image_shape"])
        if "features" in wanted and network.input_shape[1:] != shape:  # a body takes features
            raise ValueError(f"{where} must take images of shape {shape}, it takes {network.input_shape[1:]}")
        for output, expected in self._shapes(name).items():
            _check_shape(where, output, expected, network.output_shapes[output])
        return network

    def _shapes(self, name: str) -> dict[str, Any]:
        """What a file gives for one image: shapes by output; None for any."""
        kind = name.partition("_")[0]
        if kind == "route":
            return {"features": None, "gate": (len(self.bundle.manifest["madds"]["body"]),)}
        return self.results if kind == "body" else {"features": None, **self.results}

    def check_classes(self) -> None:
        """Compares the bundle's classes with the graph of a file that gives logits; the file is not made for it.

        Raises:
            ValueError: others, or a damaged part.
        """
        name = "body_0"
        where = f"{self.bundle.path}: {name}"
        for output, expected in self.results.items():
            try:
                shape = output_shape(self.bundle.template(name).graph, output)
            except ValueError as error:
                raise ValueError(f"{where} cannot be opened: {error}") from None
            _check_shape(where, output, expected, shape)

    def _engine(self, data: bytes, name: str, where: str) -> Any:
        if self.engine == "interpreter":
            return Interpreted(data, self.num_threads, name=where)
        if not self.weight_cache:
            return Compiled(data, self.num_threads, name=where)
        cache = self.path(name).with_suffix(".xnnpack")
        return compiled_with_cache(data, self.num_threads, cache, where)


def _check_shape(where: str, output: str, expected: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
    if expected is not None and shape != (1, *expected):
        size = " x ".join(map(str, expected))
        raise ValueError(f"{where} must give {size} {output}, its shape is {shape}")
