"""Converts an official DS-Net checkpoint (PyTorch) into a preset directory that ds_keras.zoo.load reads.

Needs PyTorch: pip install ds_keras[convert]

Example:
    ds-keras convert --checkpoint=DS_MBNet-70_1.pth.tar --output=converted/ds_mbnet
"""

from pathlib import Path

from absl import logging

from ds_keras.cli.flags import Flags

FLAGS = Flags()
FLAGS.string("checkpoint", None, "The .pth.tar file.", required=True)
FLAGS.destination("output", None, "Directory of the new preset.", required=True)
FLAGS.words("strides", None, "Strides of the stem and of every stage (default: the published 2,1,2,2,2,2).")
FLAGS.switch("ema", False, "Take the averaged weights (state_dict_ema).")
FLAGS.integer("image_size", 224, "Height and width of the images.", lower_bound=1)

CARD = """# {name}

Converted from `{file}` (sha256 {digest}, entry `{entry}`) with `ds-keras convert`.
{count} levels, {classes} classes, {size} px, strides {strides}. Images in [0, 255] are normalised with ImageNet's mean
and standard deviation.

Nothing here was measured. The weights keep the terms of their source; the official DS-Net code names no licence.
"""


def main(_: str) -> None:
    """Reads, converts, writes."""
    try:
        strides = None if FLAGS.strides is None else [int(stride) for stride in FLAGS.strides]
    except ValueError:
        raise ValueError(f"--strides must be integers with commas, received {','.join(FLAGS.strides)!r}") from None
    logging.info("reading %s", FLAGS.checkpoint)
    import keras

    from ds_keras import zoo
    from ds_keras.convert import ds_net as convert
    from ds_keras.core import cost, files

    keras.utils.set_random_seed(0)  # a gate that the checkpoint does not fill comes out the same every time
    model = convert.from_official(FLAGS.checkpoint, (FLAGS.image_size, FLAGS.image_size, 3), FLAGS.ema, strides)
    card = CARD.format(
        name=Path(FLAGS.output).resolve().name,
        file=Path(FLAGS.checkpoint).name,
        digest=files.sha256(FLAGS.checkpoint),
        entry="state_dict_ema" if FLAGS.ema else "state_dict",
        count=len(model.levels),
        classes=model.num_classes,
        size=FLAGS.image_size,
        strides=",".join(map(str, strides or convert.STRIDES)),
    )
    zoo.save(model, FLAGS.output, card=card)
    for k in range(len(model.levels)):
        print(f"level {k}: {cost.madds(model, k) / 1e6:.1f}M MAdds, {cost.params(model, k) / 1e6:.2f}M parameters")
    print(f"preset: {FLAGS.output}")
