"""Chooses a detector's cascade on held-out images, and compares it with fixed levels on the test images.

Prints average precision and multiply-adds of every level and of the cascade at several budgets, and beside it what
fixed levels give at the same cost, interpolated. With --output the cascade is written: for ds-keras detect, and for
ds-keras export, which puts it into a bundle.

Example:
    ds-keras route_detector --model=runs/cells/preset --data=pack:FILE.npz --output=routing.json
"""

from absl import logging

from ds_keras.cli.flags import Flags
from ds_keras.cli.inputs import detector_place
from ds_keras.runtime.manifest import CONFIDENCES

FLAGS = Flags()
FLAGS.string("model", None, "Preset of a detector; or what train_detector wrote: its workdir.", required=True)
FLAGS.string(
    "data",
    None,
    "As of train_detector; without a part val, a fifth of the training images is held out as val.",
    required=True,
)
FLAGS.choice("confidence", "entropy", CONFIDENCES, "How sure a level is of its boxes.")
FLAGS.integer("points", 21, "Thresholds to measure.", lower_bound=2)
FLAGS.destination("output", None, "JSON file for the cascade.", file=True)


def main(_: str) -> None:
    """Reads the flags, chooses on val, measures on test, prints the table."""
    from ds_keras import detection, zoo
    from ds_keras.detection import routing

    sets = detection.load_data(FLAGS.data).with_val()
    folder = detector_place(FLAGS.model)
    folder = folder / "preset" if (folder / "preset").is_dir() else folder
    model = detection.load(folder)
    if "chosen_on" not in zoo.card(folder):
        logging.warning("%s may have learnt from these images of val: train it with --keep_val", model.name)
    held_out, test = (routing.predict(model, sets.part(name)) for name in ("val", "test"))
    cascade = routing.fit(held_out, FLAGS.points, name=FLAGS.confidence)
    order = ", ".join(map(str, cascade.spec.cascade))
    print(
        f"cascade of levels {order} by {cascade.confidence}, chosen on {len(held_out)} images, measured on {len(test)}"
    )
    print(f"{'':22}  MMAdds  mAP@0.5    mAP  fixed levels at this cost")
    for row in routing.compare(test, cascade):
        figures = f"{row['madds'] / 1e6:6.1f}  {row['map50']:7.3f}  {row['map']:5.3f}  {row['static']:.3f}"
        print(f"{row['what']:22}  {figures}")
    if FLAGS.output is not None:
        cascade.write(FLAGS.output)
        print(f"cascade: {FLAGS.output}")
