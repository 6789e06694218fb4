"""The report of a detector: what every level costs and finds, and pictures with its boxes."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ds_keras.core.files import expanded, write_bytes
from ds_keras.report import details, page

HEADER = ("level", "million MAdds", "of the largest, %", "mAP@0.5", "mAP", "ms")


def write_detector_report(
    output: str | PathLike,
    name: str,
    about: Mapping[str, Any],
    levels: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Sequence[tuple[np.ndarray, str]]] | None = None,
    command: str = "",
) -> Path:
    """Writes the report of a detector: one HTML file, without network access.

    Args:
        output: the HTML file; replaced as a whole.
        name: of the network.
        about: facts by name: size of the images, classes, data.
        levels: for each level "madds", "map50" and "map", and "ms" where it was timed.
        pictures: by title, such as "level 0": images (height, width, 3) uint8 with their boxes drawn, and captions;
            None for none. A page that others get to see may hold them only where the data's terms allow it.
        command: that repeats the report.

    Returns:
        The path.

    Example:
        >>> write_detector_report("report.html", "cells", {"Classes": "3"}, rows, {"level 0": [(drawn, "photo 1")]})
    """
    largest, rows = levels[-1]["madds"], []
    for level, row in enumerate(levels):
        cost = f"{row['madds'] / 1e6:.1f}", f"{100 * row['madds'] / largest:.1f}"
        ms = f"{row['ms']:.2f}" if "ms" in row else None
        rows.append([f"level {level}", *cost, f"{row['map50']:.3f}", f"{row['map']:.3f}", ms])
    caption = "Average precision (COCO's) and cost of every level; milliseconds: from an image to its boxes, one thread"
    shown = [page.paragraph("Left out, so that the page can be passed on whatever the terms of the data.")]
    if pictures is not None:
        shown = [part for title, found in pictures.items() for part in (page.paragraph(title), page.boxed(found))]
    parts = [
        page.listing(dict(about)),
        page.section("Levels", page.table(caption, HEADER, rows)),
        page.section("Boxes at every level", *shown),
        page.section("Command and versions", *([page.code(command)] if command else []), details.versions()),
    ]
    path = expanded(output)
    write_bytes(path, page.document(f"Report: {name}", parts).encode())
    return path
