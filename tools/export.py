"""Writes a preset for a phone: a bundle, or a TFLite file for each level. All is run and compared before it is kept.

Example:
    python tools/export.py --preset=ds_mobilenet_digits --output=digits.dsbundle --format=bundle
    python tools/export.py --preset=ds_mobilenet_digits --output=tflite --quantization=float16
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cli
from absl import flags

FLAGS = flags.FLAGS
flags.DEFINE_string("preset", None, "Preset, alias or directory.", required=True)
flags.DEFINE_string("output", None, "Directory, or FILE.dsbundle for a bundle in one file.", required=True)
flags.DEFINE_enum("format", "tflite", ["tflite", "bundle"], "One file for each level, or a bundle of all.")
flags.DEFINE_list("levels", ["all"], "Levels, or 'all', of --format=tflite.")
flags.DEFINE_enum("quantization", "none", ["none", "float16"], "How weights are stored.")


def main(_: list[str]) -> None:
    """Reads the flags and exports."""
    from rich.console import Console
    from rich.progress import track

    from ds_keras import cost, export, zoo

    model = zoo.load(FLAGS.preset)
    quantization = None if FLAGS.quantization == "none" else FLAGS.quantization
    licence = zoo.card(FLAGS.preset).get("licence")
    if FLAGS.levels == ["all"]:
        levels = list(range(len(model.levels)))
    elif FLAGS.levels and all(level.strip().isdigit() for level in FLAGS.levels):
        levels = [model.level_index(int(level)) for level in FLAGS.levels]
    else:
        raise ValueError(f"--levels must be 'all' or integers, received {','.join(FLAGS.levels)!r}")
    if FLAGS.format == "bundle":
        if FLAGS.levels != ["all"]:
            raise ValueError(f"--levels must be 'all' for a bundle, received {','.join(FLAGS.levels)!r}")
        with Console().status(f"exporting {len(levels)} levels"):
            path = export.to_bundle(model, FLAGS.output, quantization, licence)
        files = [path] if path.is_file() else sorted(path.iterdir())
        print(f"{path}  {sum(file.stat().st_size for file in files)} bytes  {len(levels)} levels")
        return
    written = []
    for level in track(levels, description="exporting"):
        written += export.to_tflite(model, FLAGS.output, [level], quantization, licence=licence)
    for level, path in zip(levels, written, strict=True):
        print(f"{path}  {path.stat().st_size} bytes  {cost.madds(model, level)} MAdds")


if __name__ == "__main__":
    cli.run(main)
