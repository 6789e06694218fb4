"""Sets of images with boxes: readers, and batches for training."""

import os

from ds_keras.core.files import shown
from ds_keras.detection.data.coco import coco
from ds_keras.detection.data.pack import pack
from ds_keras.detection.data.source import BoxSets
from ds_keras.detection.data.voc import voc

FORMS = ("voc:FOLDER", "coco:FOLDER or FILE.json", "pack:FILE.npz")


def load_data(spec: str) -> BoxSets:
    """Opens a set of images with boxes.

    Args:
        spec: "voc:FOLDER", "coco:FOLDER", "coco:FILE.json" or "pack:FILE.npz".

    Returns:
        ``BoxSets(train, test, held_out, val)``.

    Raises:
        ValueError: another string, or a damaged set; the message names the file.
        FileNotFoundError: no such file.

    Example:
        >>> sets = load_data("voc:blood_cells")
    """
    kind, _, place = str(spec).partition(":")
    readers = {"voc": voc, "coco": coco, "pack": pack}
    if kind not in readers or not place:
        raise ValueError(f"data must be one of {', '.join(FORMS)}, received {shown(repr(spec))}")
    return readers[kind](os.path.expanduser(place))
