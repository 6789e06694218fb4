"""A TFLite file of one input at batch 1, in either of LiteRT's engines."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.core.files import replacing, sha256, write_bytes

ENGINES = ("interpreter", "compiled")
SIGNATURE = "serve"
MISSING = "a bundle runs in LiteRT: pip install ai-edge-litert"
_environment: Any = None
_environment_lock = threading.Lock()


class Interpreted:
    """LiteRT's Interpreter: outputs are arrays, or lent as functions that give a view of LiteRT's own memory.

    A view must be gone before its network runs again (LiteRT refuses to run else), a function may be kept.

    Args:
        data: the file's bytes.
        num_threads: of LiteRT.
        delegates: whether XNNPACK runs what it can.
        name: of the file, for errors.
    """

    def __init__(self, data: bytes, num_threads: int, delegates: bool = True, name: str = "the file"):
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError as error:
            raise ImportError(MISSING) from error
        self.name = name
        kind = OpResolverType.AUTO if delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.interpreter = Interpreter(model_content=data, num_threads=num_threads, experimental_op_resolver_type=kind)
        self.interpreter.allocate_tensors()
        runner = self.interpreter.get_signature_runner(SIGNATURE)
        (detail,) = runner.get_input_details().values()
        self.input, self.dtype = detail["index"], detail["dtype"]
        self.input_shape = tuple(int(n) for n in detail["shape"])
        details = runner.get_output_details()
        self.output_shapes = {name: tuple(int(n) for n in detail["shape"]) for name, detail in details.items()}
        indices = {name: detail["index"] for name, detail in details.items()}
        self.outputs = {name: self.interpreter.tensor(index) for name, index in indices.items()}

    def __call__(self, x: Any, lend: bool = False) -> dict[str, Any]:
        """Outputs by name for one input: an array, or what another network lends."""
        try:
            self.interpreter.set_tensor(self.input, x() if callable(x) else as_input(x, self.dtype))
            self.interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"LiteRT cannot run {self.name}: {error}") from error
        return self.outputs if lend else {name: view().copy() for name, view in self.outputs.items()}


class Compiled:
    """LiteRT's CompiledModel: "features" stays in a buffer of its own, which another network reads without a copy.

    Args:
        data: the file's bytes.
        num_threads: of LiteRT.
        weight_cache: file for XNNPACK's packed weights, made where it is missing; None for none.
        name: of the file, for errors.
    """

    def __init__(
        self, data: bytes, num_threads: int, weight_cache: str | os.PathLike | None = None, name: str = "the file"
    ):
        try:
            from ai_edge_litert.compiled_model import CompiledModel
            from ai_edge_litert.options import CpuOptions, Options
        except ImportError as error:
            raise ImportError(f"engine='compiled' needs ai-edge-litert 2.3 or later: {error}") from error
        self.name = name
        self.data = data  # which the model reads from
        cpu = CpuOptions(num_threads=num_threads)
        if weight_cache is not None:
            cpu.xnnpack_weight_cache_path = os.fspath(weight_cache)
        self.model = CompiledModel.from_buffer(data, options=Options(cpu_options=cpu), environment=_shared())
        names = self.model.get_signature_list()[SIGNATURE]
        (self.input,) = names["inputs"]
        details = self.model.get_output_tensor_details(SIGNATURE)
        self.outputs = {name: tuple(details[name]["shape"]) for name in names["outputs"]}
        self.output_shapes = {name: tuple(int(n) for n in shape) for name, shape in self.outputs.items()}
        detail = self.model.get_input_tensor_details(SIGNATURE)[self.input]
        self.dtype, self.input_shape = np.dtype(detail["dtype"]), tuple(int(n) for n in detail["shape"])
        self.x = self.model.create_input_buffer_by_name(SIGNATURE, self.input)
        self.buffers = {name: self._buffer(name) for name in self.outputs}

    def __call__(self, x: Any, lend: bool = False) -> dict[str, Any]:
        """Outputs by name for one input: an array, or another network's "features".

        "features" stay in their buffer, which is another one each time; lent, it is good until this runs again.
        """
        buffers = dict(self.buffers)
        if not lend and "features" in buffers:
            buffers["features"] = self._buffer("features")
        try:
            if isinstance(x, np.ndarray):
                self.x.write(as_input(x, self.dtype))
                x = self.x
            self.model.run_by_name(SIGNATURE, {self.input: x}, buffers)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"LiteRT cannot run {self.name}: {error}") from error
        return {
            name: buffer if name == "features" else to_array(buffer, self.outputs[name])
            for name, buffer in buffers.items()
        }

    def _buffer(self, name: str) -> Any:
        return self.model.create_output_buffer_by_name(SIGNATURE, name)


def to_array(value: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A network's output as an array, whatever its engine."""
    if isinstance(value, np.ndarray):
        return value
    if callable(value):
        return value().copy()
    if shape is not None:  # logits
        return value.read(int(np.prod(shape)), np.float32).reshape(shape)
    details = value.get_tensor_details()
    return value.read(int(np.prod(details["shape"])), np.dtype(details["dtype"])).reshape(details["shape"])


def as_input(x: np.ndarray, dtype: Any) -> np.ndarray:
    """Images or features as a file takes them.

    Args:
        x: images in [0, 255], or what another file gave.
        dtype: of the file's input: uint8 for images of an int8 file, which are rounded.

    Returns:
        The array; ``x`` itself where it has that dtype.
    """
    if dtype == np.uint8 and x.dtype != np.uint8:
        x = np.clip(np.rint(x), 0, 255)
    return x.astype(dtype, copy=False)


def compiled_with_cache(data: bytes, num_threads: int, weight_cache: Path, name: str) -> Compiled:
    """A ``Compiled`` whose packed weights are kept in a file, which is used again only where it is whole.

    Processes may share the file: each writes its own and moves it there. Where none can be kept, none is.

    Args:
        data: the file's bytes.
        num_threads: of LiteRT.
        weight_cache: of this file alone; its sha256 lies beside it, written last.
        name: of the file, for errors.

    Returns:
        The network.
    """
    stamp = weight_cache.with_suffix(".sha256")
    try:
        if weight_cache.is_file() and stamp.is_file() and stamp.read_bytes() == sha256(weight_cache).encode():
            return Compiled(data, num_threads, weight_cache, name)
        with replacing(weight_cache) as own:
            network = Compiled(data, num_threads, own, name)
            digest = sha256(own)
        write_bytes(stamp, digest.encode())
        return network
    except OSError:  # nothing can be written there, or XNNPACK packs nothing
        return Compiled(data, num_threads, name=name)


def _shared() -> Any:
    """One environment for all networks of the process: buffers pass between networks of one environment."""
    global _environment
    with _environment_lock:
        if _environment is None:
            from ai_edge_litert.environment import Environment

            _environment = Environment.create()
        return _environment
