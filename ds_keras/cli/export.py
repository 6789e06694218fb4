"""Writes a preset for where it runs: a bundle, or TFLite or ONNX files. All is run and compared before it is kept.

Example:
    ds-keras export --preset=ds_mobilenet_digits --output=digits.dsbundle --format=bundle
    ds-keras export --preset=ds_mobilenet_digits --output=tflite --quantization=float16
    ds-keras export --preset=ds_resnet --output=int8 --quantization=int8 --calibration=photos
    ds-keras export --preset=ds_mobilenet_digits --output=onnx --format=onnx --levels=0,3
    ds-keras export --preset=ds_mobilenet_digits --output=digits.onnx --format=onnx --chosen_by=input
    ds-keras export --preset=runs/lc/preset --output=tflite
    ds-keras export --preset=runs/things/preset --output=things.dsbundle --format=bundle --quantization=float16
    ds-keras export --preset=runs/things/preset --output=things.dsbundle --format=bundle --cascade=routing.json
"""

import os
from typing import TYPE_CHECKING, Any

from absl import logging

from ds_keras.cli.flags import Flags
from ds_keras.cli.inputs import load_network, read_images

if TYPE_CHECKING:
    from ds_keras.core.image_model import ImageModel
    from ds_keras.models import Supernet

FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory.", required=True)
FLAGS.destination("output", None, "Directory; FILE.dsbundle for a bundle in one file; FILE.onnx.", required=True)
FLAGS.choice(
    "format", "tflite", ["tflite", "bundle", "onnx"], "A TFLite or ONNX file for each level, or a bundle of all."
)
FLAGS.words("levels", ["all"], "Levels, a file for each, or 'all'; a bundle, and --chosen_by, take 'all' only.")
FLAGS.choice(
    "quantization",
    "none",
    ["none", "float16", "dynamic_int8", "int8"],
    "Of TFLite files and bundles: weights in half precision; weights in int8; all in int8, with --calibration.",
)
FLAGS.string("calibration", None, "Folder of images of the kind that the network will see, for int8.")
FLAGS.existing("cascade", None, "Of a detector's bundle: what ds-keras route_detector wrote, which it then holds.")
FLAGS.choice(
    "chosen_by",
    "file",
    ["file", "input", "gate"],
    "Of --format=onnx: a file for each level, or one with every level, chosen by an input or by the gate.",
)


def main(_: str) -> None:
    """Reads the flags and exports."""
    model = load_network(FLAGS.preset)
    if FLAGS.cascade is not None and (FLAGS.format != "bundle" or getattr(model, "task", None) != "detection"):
        raise ValueError(
            "--cascade is for a detector's bundle: it goes with --format=bundle, and a detector's --preset"
        )
    if not hasattr(model, "levels"):
        return _write_one(model)
    if FLAGS.levels == ["all"]:
        levels = list(range(len(model.levels)))
    elif FLAGS.levels and all(level.strip().isdecimal() and len(level) < 10 for level in FLAGS.levels):
        levels = [model.level_index(int(level)) for level in FLAGS.levels]
    else:
        raise ValueError(f"--levels must be 'all' or integers, received {','.join(FLAGS.levels)!r:.200}")
    whole = "a bundle" if FLAGS.format == "bundle" else f"--chosen_by={FLAGS.chosen_by}"
    if FLAGS.levels != ["all"] and (FLAGS.format == "bundle" or FLAGS.chosen_by != "file"):
        raise ValueError(f"--levels must be 'all' for {whole}, received {','.join(FLAGS.levels)!r}")
    if FLAGS.format != "onnx" and FLAGS.chosen_by != "file":
        raise ValueError(f"--chosen_by must be 'file' for --format={FLAGS.format}, received {FLAGS.chosen_by!r}")
    if FLAGS.format == "onnx" and FLAGS.quantization != "none":
        raise ValueError(f"--quantization must be 'none' for --format=onnx, received {FLAGS.quantization!r}")
    if FLAGS.format == "onnx" and FLAGS.chosen_by == "file" and FLAGS.output.endswith(".onnx"):
        raise ValueError(f"--output must be a directory, of a file for each level, received {FLAGS.output!r}")
    if (FLAGS.quantization == "int8") != bool(FLAGS.calibration):
        raise ValueError(
            "--calibration goes with --quantization=int8, which needs it; received "
            f"{FLAGS.calibration!r} and {FLAGS.quantization!r}"
        )
    if FLAGS.format == "bundle" or FLAGS.chosen_by != "file":
        _write_every_level(model)
    else:
        _write_levels(model, levels)


def _write_one(model: "ImageModel") -> None:
    """The only file of a network without levels."""
    from ds_keras import export, zoo

    if FLAGS.format != "tflite" or FLAGS.levels != ["all"] or FLAGS.calibration or FLAGS.chosen_by != "file":
        raise ValueError(
            "--format must be 'tflite', --levels 'all', --chosen_by 'file' and --calibration absent for a network "
            f"without levels, received {FLAGS.format!r}, {','.join(FLAGS.levels)!r}, {FLAGS.chosen_by!r} and "
            f"{FLAGS.calibration!r}"
        )
    quantization = None if FLAGS.quantization == "none" else FLAGS.quantization
    licence = zoo.card(FLAGS.preset).get("licence")
    (path,) = export.to_tflite(model, FLAGS.output, quantization=quantization, licence=licence)
    print(f"{path}  {path.stat().st_size} bytes  {model.madds} MAdds at most")


def _quantized(model: "Supernet") -> dict[str, Any]:
    """The arguments of the export that the flags ask for."""
    if not FLAGS.calibration:
        return {"quantization": None if FLAGS.quantization == "none" else FLAGS.quantization}
    from ds_keras.quantization import CALIBRATION_IMAGES

    images = read_images(FLAGS.calibration, model.image_shape, CALIBRATION_IMAGES, "--calibration")
    return {"quantization": FLAGS.quantization, "calibration_data": images}


def _write_every_level(model: "Supernet") -> None:
    """One file, or a bundle as a directory."""
    from ds_keras import export, zoo

    licence = zoo.card(FLAGS.preset).get("licence")
    if FLAGS.format == "bundle":
        path = _bundle(model, licence)
    else:
        logging.info("converting to ONNX: some 10 s for each of %d levels", len(model.levels))
        path = export.to_onnx(model, FLAGS.output, "gate" if FLAGS.chosen_by == "gate" else None, licence)
    files = [path] if path.is_file() else sorted(path.iterdir())
    print(f"{path}  {sum(file.stat().st_size for file in files)} bytes  {len(model.levels)} levels")


def _bundle(model: Any, licence: str | None) -> Any:
    """Writes a bundle; a detector's with its cascade."""
    from ds_keras import detection, export

    if model.task != "detection":
        return export.to_bundle(model, FLAGS.output, licence=licence, **_quantized(model))
    cascade = None if FLAGS.cascade is None else detection.DetectionCascade.read(FLAGS.cascade)
    return detection.to_bundle(model, FLAGS.output, licence=licence, cascade=cascade, **_quantized(model))


def _write_levels(model: "Supernet", levels: list[int]) -> None:
    """A file for each level."""
    from ds_keras import detection, export, zoo
    from ds_keras.core import cost

    licence = zoo.card(FLAGS.preset).get("licence")
    if FLAGS.format == "onnx":
        logging.info("converting to ONNX: some 10 s for each of %d levels", len(levels))
        paths = [os.path.join(FLAGS.output, f"level_{level}.onnx") for level in levels]
        written = [export.to_onnx(model, path, level, licence) for level, path in zip(levels, paths, strict=True)]
    else:
        write: Any = export.to_tflite
        if model.task == "detection":
            write = detection.to_tflite  # which describes the files too
        written = write(model, FLAGS.output, levels, licence=licence, **_quantized(model))
    for level, path in zip(levels, written, strict=True):
        print(f"{path}  {path.stat().st_size} bytes  {cost.madds(model, level)} MAdds")
