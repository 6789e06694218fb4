"""The plain networks that a model's files are converted from, and what the files are compared with."""

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ds_keras.core.levels import require_levels
from ds_keras.core.visitor import Compute
from ds_keras.export.int8 import int8_network
from ds_keras.export.kernel import Kernel
from ds_keras.export.subnet import Plain, assemble
from ds_keras.export.tflite.convert import check, convert, outputs
from ds_keras.export.tflite.dynamic_range import with_codes
from ds_keras.export.tflite.split_body import split_body
from ds_keras.quantization.ranges import activation_ranges, check_calibration_data

if TYPE_CHECKING:
    from ds_keras.core.network import SliceableNetwork

CONVERTING = 0.03  # seconds for a layer at a level, measured on three presets
QUANTIZATIONS = (None, "float16", "dynamic_int8", "int8")


class ExportSource:
    """Every part of a model at every level as a TFLite file in one quantization, and what the files must give.

    Args:
        model: supernet, or another network with slice levels.
        quantization: see ``QUANTIZATIONS``.
        calibration_data: (count, height, width, channels) images in [0, 255] that the ranges of "int8" are taken from;
            with "dynamic_int8", where None will do, the files are compared on them.

    Raises:
        ValueError: bad argument.
    """

    def __init__(self, model: "SliceableNetwork", quantization: str | None = None, calibration_data: Any = None):
        if quantization not in QUANTIZATIONS:
            raise ValueError(f"quantization must be one of {QUANTIZATIONS}, received {quantization!r}")
        if quantization in (None, "float16") and calibration_data is not None:
            raise ValueError(f"calibration_data belongs to int8, received it with quantization={quantization!r}")
        require_levels(model)
        model.build()
        self.model, self.quantization = model, quantization
        self._rounded: dict[tuple[str, int], tuple[keras.Model, list[Kernel]]] = {}
        self._files: dict[tuple[str, int], tuple[bytes, list[Kernel]]] = {}
        self._results: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        self.ranges = activation_ranges(model, calibration_data) if quantization == "int8" else None
        self.whole = model.in_float32()
        self.source = halved(model) if quantization == "float16" else self.whole
        if calibration_data is None:
            self.images = np.random.default_rng(0).uniform(0, 255, (2, *model.image_shape)).astype("float32")
        else:
            self.images = np.rint(check_calibration_data(model, calibration_data)[:8])

    def folded(self, part: str, level: int) -> tuple[keras.Model, list[Kernel]]:
        """A part with BatchNorm folded, and the kernels that it is made of.

        Args:
            part: see ``subnet.assemble``.
            level: slice level; 0 for "route".

        Returns:
            The network and its kernels.
        """
        if self.ranges is not None:
            if (part, level) not in self._rounded:
                self._rounded[part, level] = int8_network(self.model, level, part, self.ranges[level])
            return self._rounded[part, level]
        visitor = Plain(level, fold=True, apart=self.quantization == "dynamic_int8")
        return assemble(self.source, visitor, part), visitor.kernels

    def converted(self, part: str, level: int) -> bytes:
        """A part as a TFLite file, without metadata; where it is float the converter folds BatchNorm."""
        if self.quantization in (None, "float16"):
            return convert(self.plain(part, level), self.quantization)
        return self._convert(*self.folded(part, level))

    def file(self, part: str, level: int) -> tuple[bytes, list[Kernel]]:
        """A folded part as a TFLite file, without metadata, and the kernels that it may hold.

        Args:
            part: "route", "entry" or "body", which is split from the entry where that can be done.
            level: slice level; 0 for "route".

        Returns:
            The file's bytes and the kernels.
        """
        if part == "body":
            entry, kernels = self.file("entry", level)
            with contextlib.suppress(ValueError):  # where the converter joined operators on both sides of the border
                return split_body(entry), kernels
        if (part, level) not in self._files:
            network, kernels = self.folded(part, level)
            network.name = self.model.name  # begins the names of the tensors, which are then equal in every level
            self._files[part, level] = self._convert(network, kernels), kernels
        return self._files[part, level]

    def _convert(self, network: keras.Model, kernels: list[Kernel]) -> bytes:
        data = convert(network, self.quantization)
        return with_codes(data, kernels) if self.quantization == "dynamic_int8" else data

    def plain(self, part: str, level: int) -> keras.Model:
        """A part as a plain Keras network: a float one, or one that rounds as an int8 file does."""
        if self.ranges is not None:
            return self.folded(part, level)[0]
        source = self.whole if part == "whole" else self.source  # the converter itself halves a whole network
        return assemble(source, Plain(level), part)

    def check(self, data: bytes, part: str, level: int) -> None:
        """Runs a part's file and compares it with the model, or with the network that rounds as an int8 file does.

        Raises:
            RuntimeError: see ``convert.check``.
        """
        name = f"{self.model.name}_{'route' if part == 'route' else f'level{level}'}"
        x = self.start["features"] if part == "body" else self.images
        check(name, data, self.expected(part, level), x, self.quantization, self.model.one_by_one, self.model.decoded)

    def expected(self, part: str, level: int) -> dict[str, np.ndarray]:
        """What a part gives for ``images``, or the body for their features.

        Args:
            part: "whole", "entry", "route" or "body".
            level: slice level; ignored for "route".

        Returns:
            Arrays by the name of the output.
        """
        if part == "route":
            return self.start
        key = ("whole" if part == "whole" else "entry", level)
        if key not in self._results:
            found = self._run(*key)
            self._results[key] = {name: np.asarray(y) for name, y in found.items() if name != "features"}
        return {"features": self.start["features"], **self._results[key]} if part == "entry" else self._results[key]

    def _run(self, part: str, level: int) -> dict[str, Any]:
        """What a level gives for ``images``."""
        if self.ranges is not None:
            return outputs(self.folded(part, level)[0], self.images)
        if part == "whole":
            return self.whole.results(self.whole(self.images, level=level))
        visitor, source = Compute(level), self.source
        return source.results(source.body(visitor, source.parted(visitor, tf.constant(self.start["features"]))))

    @cached_property
    def start(self) -> dict[str, np.ndarray]:
        """What "route" gives for ``images``: "features", which every body reads, and "gate"."""
        if self.ranges is not None:
            found = outputs(self.folded("route", 0)[0], self.images)
        else:
            visitor = Compute(0)
            features, gate_features = self.source.start(visitor, tf.constant(self.images))
            joined = self.source.joined(visitor, features)
            found = {"features": joined, "gate": self.source.gate(visitor, gate_features)}
        return {name: np.asarray(value) for name, value in found.items()}


def halved(model: "SliceableNetwork") -> "SliceableNetwork":
    """A copy of a model whose kernels are half-precision numbers (held as float32)."""
    twin = model.clone("float32")
    for variable in twin.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(keras.ops.convert_to_numpy(variable).astype("float16").astype("float32"))
    return twin
