"""Writes a page that runs a bundle in a browser: on a phone, with its camera, and with the times of every level there.

One HTML file that needs no server and asks no host for anything. LiteRT.js, which runs the network, is fetched from the
npm registry once and kept in the user's cache; --runtime names a folder with the package instead.

Example:
    ds-keras web --preset=ds_mobilenet --output=page.html
    ds-keras web --preset=ds_mobilenet_digits --data=digits --output=page.html
    ds-keras web --bundle=digits.dsbundle --output=page.html --pictures=one.png,two.png
    ds-keras web --preset=ds_mobilenet --output=site --runtime=node_modules/@litertjs/core
"""

from absl import logging

from ds_keras.cli.flags import Flags
from ds_keras.core.files import expanded
from ds_keras.photos.decode import opened

FLAGS = Flags()
FLAGS.string("bundle", None, "Bundle, as ds-keras export --format=bundle writes it; or give --preset.")
FLAGS.string("preset", None, "Preset, alias or directory: the page runs its bundle.")
FLAGS.switch("int8", False, "The preset's int8 bundle instead of the one in half precision.")
FLAGS.destination("output", None, "FILE.html, or a folder for a web server.", required=True)
FLAGS.string("runtime", None, "Folder that holds npm's @litertjs/core. Default: the cache, or the npm registry.")
FLAGS.words("pictures", [], "Image files that the page offers to try.")
FLAGS.string("data", None, "Data set whose test images the page offers to try: only where its terms allow it.")
SHOWN = 8  # of the data set


def main(_: str) -> None:
    """Reads the flags and writes the page."""
    if (FLAGS.preset is None) == (FLAGS.bundle is None):
        raise ValueError("give exactly one of --preset and --bundle")
    if FLAGS.int8 and FLAGS.preset is None:
        raise ValueError("--int8 goes with --preset: a bundle is of one precision")
    for picture in FLAGS.pictures:
        with opened(picture):  # refuses what is no image
            pass
    from ds_keras import export, zoo

    bundle = zoo.bundle(FLAGS.preset, FLAGS.int8) if FLAGS.bundle is None else FLAGS.bundle
    card = None if FLAGS.preset is None else zoo.card(FLAGS.preset)
    pictures = [*FLAGS.pictures, *([] if FLAGS.data is None else _examples(FLAGS.data))]
    logging.info("checking every file of the bundle, packing LiteRT.js: about 5 s on a free core")
    path = export.to_web(bundle, FLAGS.output, FLAGS.runtime, card, pictures)
    alone = path == expanded(FLAGS.output)
    how = "open it in a browser" if alone else f"a web server shows it: python -m http.server --directory {path.parent}"
    print(f"{path}  {path.stat().st_size} bytes  {how}")


def _examples(name: str) -> list[bytes]:
    """A few test images of a data set as PNG files."""
    import io

    import numpy as np
    from PIL import Image

    from ds_keras import data

    found, source = [], data.load(name)["test"]
    chosen = np.random.default_rng(0).permutation(len(source))[:SHOWN]
    for image in np.rint(source.subset(chosen).images()).astype("uint8"):
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, "png")
        found.append(file.getvalue())
    return found
