"""Small pictures of coloured rectangles with their boxes, as sets and as folders."""

import json

import numpy as np
from PIL import Image

from ds_keras.data.readers.storage import ArrayStorage
from ds_keras.detection import DSDetector
from ds_keras.detection.data.source import BoxSource, check_boxes
from ds_keras.models import DSMobileNetV2
from ds_keras.models.inverted import InvertedStage

NAMES = ["blue", "red"]


def scenes(count=6, size=(48, 64), seed=0):
    """Images (count, height, width, 3) and for each the boxes in pixels and the classes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(90, 120, (count, *size, 3), dtype=np.uint8)
    things = []
    for image in images:
        boxes, classes = [], []
        for k, left in enumerate((2, 34)):
            x, y, w, h = left + rng.integers(6), rng.integers(2, 14), rng.integers(14, 22), rng.integers(14, 30)
            kind = int(rng.integers(2)) if k else 1
            image[y : y + h, x : x + w] = (240, 20, 20) if kind else (20, 20, 240)
            boxes.append([x, y, x + w, y + h])
            classes.append(kind)
        things.append((boxes, classes))
    return images, things


def source(count=6, **kwargs):
    images, things = scenes(count, **kwargs)
    height, width = images.shape[1:3]
    checked = [check_boxes(boxes, classes, [False] * 2, (width, height), "scene") for boxes, classes in things]
    return BoxSource(ArrayStorage(images), checked, NAMES, "scenes")


def xml(boxes, classes, extra=""):
    objects = "".join(
        f"<object><name>{NAMES[k]}</name><difficult>0</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for (x0, y0, x1, y1), k in zip(boxes, classes, strict=True)
    )
    return f"<annotation>{extra}{objects}</annotation>"


def write_voc(root, count=5, lists=None, **kwargs):
    """A folder as PASCAL VOC has it; ``lists`` maps the names of ImageSets/Main to places of images."""
    images, things = scenes(count, **kwargs)
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for i, (image, (boxes, classes)) in enumerate(zip(images, things, strict=True)):
        Image.fromarray(image).save(root / f"JPEGImages/{i}.png")
        (root / f"Annotations/{i}.xml").write_text(xml(boxes, classes))
    for name, places in (lists or {}).items():
        (root / f"ImageSets/Main/{name}.txt").write_text("".join(f"{i}  1\n" for i in places))
    return root


def write_coco(folder, count=5, **kwargs):
    """A JSON file as COCO has it, with its images beside."""
    images, things = scenes(count, **kwargs)
    folder.mkdir(parents=True, exist_ok=True)
    annotations = []
    for i, (image, (boxes, classes)) in enumerate(zip(images, things, strict=True)):
        Image.fromarray(image).save(folder / f"{i}.png")
        for (x0, y0, x1, y1), k in zip(boxes, classes, strict=True):
            row = {"id": len(annotations), "image_id": i, "category_id": 10 + k, "iscrowd": 0}
            annotations.append({**row, "bbox": [int(v) for v in (x0, y0, x1 - x0, y1 - y0)]})
    value = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(count)],
        "annotations": annotations,
        "categories": [{"id": 10 + k, "name": name} for k, name in enumerate(NAMES)],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(value))
    return path


def backbone(size=(64, 64), gate=1):
    """An untrained supernet of two levels, with features at strides 8, 16 and 32.

    Args:
        size: of its images.
        gate: its stage: from 3 on, a head reads stride 8 from before the border of start and body.
    """
    row = {"depth": 1, "expansion": 2, "stride": 2}
    stages = [
        InvertedStage(8, 1, 1, expansion=1),
        *(
            InvertedStage(width if i < gate else (slim, width), gate=i == gate, **row)
            for i, (slim, width) in enumerate([(8, 12), (8, 16), (12, 24), (16, 32)], start=1)
        ),
    ]
    return DSMobileNetV2(8, stages, 16, num_classes=2, input_shape=(*size, 3), name="small")


def detector(size=(64, 64), gate=1, **kwargs):
    return DSDetector(backbone(size, gate), **{"labels": NAMES, "width": 16, **kwargs})
