"""A bundle: every kernel once, and a template without kernels for each file that is made of them."""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ds_keras.core.files import WRITING, expanded, read_json, write_bytes
from ds_keras.core.timing import foreseen, reported
from ds_keras.export.bundle.parts import level_parts
from ds_keras.export.kernel import DTYPES, payload, stored_shapes
from ds_keras.export.metadata import about, check_licence
from ds_keras.export.tflite.source import CONVERTING, ExportSource
from ds_keras.export.tflite.template import make_template
from ds_keras.runtime.manifest import (
    CLASSIFICATION,
    FORMAT,
    FORMAT_VERSION,
    INDEX,
    KERNELS,
    TASK_VERSION,
    check_manifest,
    file_names,
)
from ds_keras.runtime.materialize import ALIGNMENT, materialize

if TYPE_CHECKING:
    from ds_keras.core.network import SliceableNetwork

SUFFIX = ".dsbundle"


def to_bundle(
    model: "SliceableNetwork",
    path: str | os.PathLike,
    quantization: str | None = None,
    calibration_data: Any = None,
    licence: str | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a bundle: one download that holds every weight once and becomes a static file for each level.

    It holds ``bundle.json`` (format, files, costs, policies and their knobs, budget table, sha256 of every part),
    ``kernels.bin`` (the unfolded kernels), and for the route and for each level an archive with what its files need
    besides: graphs without kernels, the plan of copies, the factors of BatchNorm (see ``export.bundle.parts``). The
    files are ``route`` (shared start and gate), ``entry_<k>`` (level k from the images on) and ``body_<k>`` (level k
    behind the shared start). Every file is made from these parts, run in LiteRT and compared with Keras before anything
    is written.

    Args:
        model: supernet, or a detector: ``ds_keras.detection.DSDetector``.
        path: a directory, or a file that ends in ".dsbundle": the single-file form. An older bundle there is replaced.
        quantization: None (float32); "float16" (kernels stored, and computed from, in half precision); "int8" (kernels,
            activations, uint8 images; networks of convolutions); "dynamic_int8" (kernels of convolutions and dense
            layers; activations stay float outside them).
        calibration_data: (count, height, width, channels) images in [0, 255], some hundreds, that the ranges of "int8"
            are taken from.
        licence: of the weights, for the files' metadata.
        policy: entries of ``bundle.json``'s policy in place of the model's own, for networks that do not hold them.

    Returns:
        The path.

    Raises:
        ValueError: bad argument, or something else than a bundle at ``path``.
        RuntimeError: a level does not give what the network gives; nothing was written.
        ImportError: ``ai_edge_litert`` is missing.

    Source: ours ("slice at install"); the levels: DS-Net, arXiv 2103.13258, section 3.1.

    Example:
        >>> to_bundle(model, "ds_mobilenet.dsbundle")
        >>> ds_keras.runtime.Session("ds_mobilenet.dsbundle").run(images)
    """
    check_licence(licence)
    path = expanded(path)
    if path.is_dir() and (others := _others(path)):
        raise ValueError(
            f"path must be a new directory or a bundle, received {str(path)!r}, which holds other files: {others[:3]}"
        )
    if (path.is_dir() == (path.suffix == SUFFIX) and path.exists()) or path.suffix in (".tflite", ".onnx"):
        raise ValueError(f"path must be a directory, or a file that ends in {SUFFIX!r}, received {str(path)!r}")
    if path.is_file() and not _is_bundle(path):
        raise ValueError(f"path must be a new file or a bundle, received {str(path)!r}, which is another file")
    parts = _parts(ExportSource(model, quantization, calibration_data), licence, policy or {})
    if path.suffix == SUFFIX:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, data in parts.items():
                archive.writestr(zipfile.ZipInfo(name), data)  # stored: the templates are deflated already
        write_bytes(path, content.getvalue())
    else:
        _write_directory(path, parts)
    return path


def _is_bundle(path: Path) -> bool:
    """Whether a file is a bundle of any version."""
    try:
        with zipfile.ZipFile(path) as archive:
            return INDEX in archive.namelist()
    except zipfile.BadZipFile:
        return False


def _parts(source: ExportSource, licence: str | None, policy: Mapping[str, Any]) -> dict[str, bytes]:
    """Every part by name, ``bundle.json`` last."""
    model, quantization = source.model, source.quantization
    made = {}
    expected = foreseen(model, len(model.levels), CONVERTING)
    for name in reported(file_names(len(model.levels)), "converting", expected):
        part, _, number = name.partition("_")
        made[name] = part, int(number or 0), *source.file(part, int(number or 0))
    kernels = [kernel for *_, own in made.values() for kernel in own]
    shapes, arrays = stored_shapes(kernels), payload(kernels, quantization)
    templates, files = {}, {}
    for name in reported(list(made), "comparing"):
        part, level, file, own = made[name]
        template = make_template(file, own, quantization, shapes, about(model, part, level, licence))
        data = materialize(template, arrays)
        source.check(data, part, level)
        templates[name] = template
        files[name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    parts = {}
    for name, (part, content) in level_parts(templates).items():
        files[name] = {"part": part, **files[name]}
        parts[part] = content
    parts[KERNELS], index = _joined(arrays)
    kind = _kind(source)
    manifest = {
        "format": FORMAT,
        "format_version": TASK_VERSION if "task" in kind else FORMAT_VERSION,
        "name": model.name,
        "quantization": quantization,
        "image_shape": list(model.image_shape),
        "num_classes": model.num_classes,
        "labels": model.labels,
        **kind,
        "licence": licence,
        "madds": {
            "start": model.costs[0].start,
            "gate": model.costs[0].gate,
            "body": [part.body for part in model.costs],
        },
        "policy": {**model.policy_record(), **policy},
        "kernels": {"part": KERNELS, "dtype": DTYPES[quantization], "index": index},
        "files": files,
        "parts": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()
        },
    }
    check_manifest(manifest)
    return {**parts, INDEX: (json.dumps(manifest) + "\n").encode()}


def _kind(source: ExportSource) -> dict[str, Any]:
    """What the manifest of a task has of its own."""
    model = source.model
    if model.task == CLASSIFICATION:
        return {"preprocessing": model.preprocessing.to_json()}
    found = source.expected("entry", len(model.levels) - 1)
    shapes = {name: list(found[name].shape[1:]) for name in model.result_names}
    return {"task": model.task, "outputs": shapes}


def _joined(arrays: dict[str, np.ndarray]) -> tuple[bytes, dict[str, Any]]:
    """The kernels one behind another, aligned, and where each lies: key -> [offset, shape]."""
    joined, index = bytearray(), {}
    for key, values in arrays.items():
        joined.extend(bytes(-len(joined) % ALIGNMENT))
        index[key] = [len(joined), list(values.shape)]
        joined.extend(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return bytes(joined), index


def _write_directory(path: Path, parts: dict[str, bytes]) -> None:
    """Writes the parts beside ``path`` and moves them into place together; an older bundle comes back if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=WRITING) as folder:
        new, old = Path(folder) / "new", Path(folder) / "old"
        for name, data in parts.items():
            write_bytes(new / name, data)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(new, path)
        except BaseException:
            if old.exists():
                os.replace(old, path)
            raise


def _others(directory: Path) -> list[str]:
    """What a directory holds besides a bundle."""
    names = sorted(entry.name for entry in directory.iterdir())
    try:
        manifest = read_json(directory / INDEX)
        known = {INDEX, *manifest["parts"]} if manifest["format"] == FORMAT else set()
    except (ValueError, KeyError, TypeError):
        known = set()
    return [name for name in names if name not in known]
