r"""Fine-tunes a level with tfmot (quantize, prune, cluster), writes it as TFLite and measures it before and after.

Trained on the data's train part; the test part is read once, by both files, at the end.

Example:
    ds-keras compress --preset=ds_mobilenet_digits --level=0 --data=digits --methods=quantize --output=out
    ds-keras compress --preset=ds_mobilenet_fashion_mnist --level=3 --data=fashion_mnist:DIRECTORY \
        --methods=prune,quantize --sparsity=0.6 --augment=flip,pad_crop:2 --output=out
"""

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("preset", None, "Preset, alias or directory.", required=True)
FLAGS.integer("level", 0, "Level to compress.", lower_bound=0)
FLAGS.string("data", None, "Data set (see ds_keras.data.load).", required=True)
FLAGS.destination("output", None, "Directory for level_<k>.tflite and level_<k>_<methods>.tflite.", required=True)
FLAGS.words("methods", ["quantize"], "One or more of prune, cluster, quantize.")
FLAGS.integer("epochs", 1, "Epochs of each method.", lower_bound=1)
FLAGS.integer("batch_size", 128, "Images of a training step.", lower_bound=1)
FLAGS.number("learning_rate", 1e-4, "At the start of each method; it falls to 0.")
FLAGS.string("augment", None, "Recipe (see ds_keras.data.augmentation); default none.")
FLAGS.number("sparsity", 0.5, "Share of zeros in each pruned kernel.")
FLAGS.integer("clusters", 16, "Distinct weights in each clustered kernel.")
FLAGS.integer("seed", 0, "Of the order of the images and their augmentation.", lower_bound=0)
FLAGS.integer("rounds", 200, "Pairs of the paired timing.", lower_bound=3)
FLAGS.destination("json", None, "Write the figures to this file too.", file=True)


def main(_: str) -> None:
    """Reads the flags, compresses, measures, prints the table."""
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from ds_keras import data, export, zoo
    from ds_keras.core.files import write_json
    from ds_keras.export import compress

    if Path(FLAGS.output).is_file():
        raise ValueError(f"--output must be a directory, received the file {FLAGS.output!r}")
    model = zoo.load(FLAGS.preset)
    level = model.static_level(FLAGS.level)
    sources = data.load(FLAGS.data)
    if not {"train", "test"} <= set(sources):
        raise ValueError(f"--data must have the parts 'train' and 'test', received {sorted(sources)}")
    for source in (sources["train"], sources["test"]):
        found, needed = len(source.class_names), model.num_classes
        if found != needed:
            raise ValueError(f"--data has {found} classes, but {FLAGS.preset} has {needed}")
        found, needed = source.image_shape[2], model.image_shape[2]
        if found != needed:
            raise ValueError(f"--data has images of {found} channels, but {FLAGS.preset} reads {needed}")
    if len(sources["train"]) < 2 * FLAGS.batch_size:
        raise ValueError(f"--batch_size must be at most half of {len(sources['train'])}, received {FLAGS.batch_size}")
    size = model.image_shape[:2]
    batches = data.batches(sources["train"], FLAGS.batch_size, FLAGS.seed, FLAGS.augment, size)
    network = compress.compress(
        model,
        level,
        batches,
        FLAGS.methods,
        FLAGS.epochs,
        len(sources["train"]) // FLAGS.batch_size,
        FLAGS.learning_rate,
        FLAGS.sparsity,
        FLAGS.clusters,
        verbose=2,
    )
    console = Console(markup=False)
    licence = zoo.card(FLAGS.preset).get("licence")
    (before,) = export.to_tflite(model, FLAGS.output, [level], licence=licence)
    methods = [method for method in compress.METHODS if method in FLAGS.methods]
    path = Path(FLAGS.output) / f"level_{level}_{'_'.join(methods)}.tflite"
    after = compress.to_tflite(network, path, model, level, licence)
    images = sources["test"].images(size)
    rows = compress.compare(before.read_bytes(), after.read_bytes(), images, sources["test"].labels, FLAGS.rounds)
    title = f"{FLAGS.preset}, level {level}: {', '.join(methods)} ({len(images)} test images, one thread)"
    table = Table("", *(name.replace("_", " ") for name in rows["before"]), title=title)
    for name, row in rows.items():
        table.add_row(name, *("" if value is None else str(value) for value in row.values()))
    console.print(table)
    print(after)
    if FLAGS.json:
        names = "preset", "data", "epochs", "learning_rate", "sparsity", "clusters", "augment"
        write_json(
            FLAGS.json, {**{name: FLAGS[name].value for name in names}, "level": level, "methods": methods, **rows}
        )
