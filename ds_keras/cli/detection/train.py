"""Trains a detector on photos with boxes within some minutes, starting from a preset.

Prints average precision and multiply-adds of every level; writes a preset with its bundle, a report and TFLite files.
The same command goes on with a run that was killed.

Example:
    ds-keras train_detector --data=voc:FOLDER --start=ds_mobilenet_imagenette --minutes=15 --workdir=runs/cells
"""

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("data", None, "voc:FOLDER, coco:FOLDER, coco:FILE.json or pack:FILE.npz.", required=True)
FLAGS.string("start", "ds_mobilenet_imagenette", "Preset of a network of convolutions, alias or directory.")
FLAGS.number("minutes", 15.0, "Time for everything.")
FLAGS.destination("workdir", "runs/detector", "Directory of the result: preset/, report.html and tflite/.")
FLAGS.words("image_size", None, "Height and width of the images, multiples of 32; default from the photos' shape.")
FLAGS.integer("batch_size", 8, "Images in a step.", lower_bound=1)
FLAGS.number("learning_rate", 3e-3, "Largest learning rate, of the head; the backbone has a quarter of it.")
FLAGS.integer("seed", 0, "Of order and augmentation.", lower_bound=0, upper_bound=2**31 - 1)
FLAGS.switch(
    "keep_val", False, "Do not learn from the part val (or a fifth): thresholds and a cascade are chosen on it."
)
FLAGS.string("name", None, "Name of the preset, for the card; default that of the workdir.")
FLAGS.string("terms", "", "A line for the card: what the images are and their terms.")
FLAGS.string("licence", "", "Of the weights, for the card.")


def main(command: str) -> None:
    """Reads the flags, trains, prints the table."""
    size = None
    if FLAGS.image_size is not None:
        if len(FLAGS.image_size) != 2 or not all(side.isdigit() for side in FLAGS.image_size):
            raise ValueError(f"--image_size must be HEIGHT,WIDTH, received {','.join(FLAGS.image_size)!r}")
        size = tuple(int(side) for side in FLAGS.image_size)
    if not FLAGS.minutes > 0:
        raise ValueError(f"--minutes must be positive, received {FLAGS.minutes!r}")
    from ds_keras import detection, zoo

    how = {
        name: FLAGS[name].value
        for name in ("batch_size", "learning_rate", "seed", "keep_val", "name", "terms", "licence")
    }
    detection.train(FLAGS.start, FLAGS.data, FLAGS.minutes, FLAGS.workdir, size, command=command, **how)
    rows = zoo.card(f"{FLAGS.workdir}/preset")["levels"]
    print("level  MMAdds  mAP@0.5    mAP")
    for row in rows:
        print(f"{row['level']:5}  {row['madds'] / 1e6:6.1f}  {row['map50']:7.3f}  {row['map']:5.3f}")
    print(f"preset: {FLAGS.workdir}/preset\ntflite: {FLAGS.workdir}/tflite\nreport: {FLAGS.workdir}/report.html")
