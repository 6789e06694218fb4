import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ds_keras import detection
from ds_keras.detection.data import pipeline
from ds_keras.detection.data.source import check_boxes
from tests.detection import scenes


def same(source, expected):
    assert source.class_names == expected.class_names and len(source) == len(expected)
    for i, (one, other) in enumerate(zip(source.things, expected.things, strict=True)):
        np.testing.assert_array_equal(source.image(i), expected.image(i))
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-6)
        np.testing.assert_array_equal(one.classes, other.classes)


def test_voc_parts_are_those_of_its_lists(tmp_path):
    root = scenes.write_voc(tmp_path / "cells", lists={"trainval": [0, 1, 3], "train": [0], "val": [1], "test": [2, 4]})
    sets = detection.load_data(f"voc:{root}")
    assert not sets.held_out and (len(sets.train), len(sets.test)) == (3, 2)
    same(sets.test, scenes.source(5).subset([2, 4]))
    same(sets.val, scenes.source(5).subset([1]))
    same(sets.train, scenes.source(5).subset([0, 3, 1]))  # val is learnt from too, if it is not kept
    same(sets.without_val().train, scenes.source(5).subset([0, 3]))


def test_validation_images_are_not_trained_on(tmp_path):
    root = scenes.write_voc(tmp_path / "cells", lists={"trainval": [0, 1, 2, 3], "train": [0, 1, 2], "val": [3]})
    assert [len(part) for part in detection.voc(root)[:2]] == [3, 1]


def test_a_fifth_is_held_out_where_nothing_says_what_to_test_on(tmp_path):
    sets = detection.voc(scenes.write_voc(tmp_path / "cells"))
    assert sets.held_out and (len(sets.train), len(sets.test)) == (4, 1)
    chosen = sets.with_val()
    assert sets.val is None and len(chosen.val) == 1 and len(chosen.without_val().train) == 3
    same(chosen.val, chosen.train.subset([3]))
    assert sorted(chosen.train.indices) == sorted(sets.train.indices) and chosen.with_val() is chosen
    path = scenes.write_coco(tmp_path / "json")
    again = detection.load_data(f"coco:{path}")
    assert again.held_out
    same(again.test, sets.test)


def test_coco_folders_are_the_parts(tmp_path):
    for part, seed in (("train", 0), ("valid", 1)):
        scenes.write_coco(tmp_path / part, seed=seed)
    sets = detection.coco(tmp_path)
    same(sets.train, scenes.source(5))
    same(sets.test, scenes.source(5, seed=1))
    scenes.write_coco(tmp_path / "test", seed=2)
    sets = detection.coco(tmp_path)
    same(sets.test, scenes.source(5, seed=2))
    same(sets.val, scenes.source(5, seed=1))
    assert len(sets.train) == 10 and len(sets.without_val().train) == 5


@pytest.mark.parametrize("images", ["{}", "images/{}", "images"])
def test_coco_own_folders_are_the_parts(tmp_path, images):
    for part, seed in (("train2017", 0), ("val2017", 0)):  # the pictures are the same, so that they may lie together
        path = scenes.write_coco(tmp_path / images.format(part), seed=seed)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        path.rename(tmp_path / f"annotations/instances_{part}.json")
    sets = detection.coco(tmp_path)
    assert not sets.held_out and sets.val is None and (len(sets.train), len(sets.test)) == (5, 5)
    same(sets.train, scenes.source(5))
    (tmp_path / "annotations/instances_train2014.json").write_text("{}")
    with pytest.raises(ValueError, match=r"annotations must hold one JSON file instances_train\*\.json, found 2"):
        detection.coco(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>', "DTD is not allowed"),
        ("<annotation><object>", "no element found"),
        ("<annotation><object><name>a</name></object></annotation>", "must have a name and a bndbox"),
        (scenes.xml([["nan", 1, 4, 5]], [0]), "finite"),
        (scenes.xml([[1, "many", 4, 5]], [0]), "many"),
        (scenes.xml([[1, 1, -4, 5]], [0]), "outside its image"),
    ],
)
def test_a_damaged_xml_file_is_named(tmp_path, text, message):
    root = scenes.write_voc(tmp_path / "cells")
    (root / "Annotations/3.xml").write_text(text)
    with pytest.raises(ValueError, match=r"3\.xml") as error:
        detection.voc(root)
    assert message in str(error.value)


def test_an_xml_file_without_an_image_is_named(tmp_path):
    root = scenes.write_voc(tmp_path / "cells")
    (root / "JPEGImages/2.png").unlink()
    with pytest.raises(ValueError, match=r"2\.xml has no image"):
        detection.voc(root)


def test_json_names_no_image_outside_its_folder(tmp_path):
    path = scenes.write_coco(tmp_path / "json")
    value = json.loads(path.read_text())
    value["images"][0]["file_name"] = "../0.png"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match="boxes.json.*outside"):
        detection.coco(path)
    for damaged in ("{}", '{"categories": [{"id": 1e999, "name": "cat"}]}'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="boxes.json is not JSON as COCO has it"):
            detection.coco(path)


def write_pack(path, **changes):
    images, things = scenes.scenes(4)
    arrays = {"classes": np.array(scenes.NAMES)}
    for part, places in {"train": [0, 1], "val": [2], "test": [3]}.items():
        files = []
        for i in places:
            buffer = io.BytesIO()
            Image.fromarray(images[i]).save(buffer, "PNG")
            files.append(np.frombuffer(buffer.getvalue(), np.uint8))
        arrays[f"{part}_jpeg"] = np.concatenate(files)
        arrays[f"{part}_off"] = np.cumsum([0, *map(len, files)])
        arrays[f"{part}_boxes"] = np.concatenate([things[i][0] for i in places]).astype("float32")
        arrays[f"{part}_box_class"] = np.concatenate([things[i][1] for i in places]).astype("uint8")
        arrays[f"{part}_box_off"] = np.arange(len(places) + 1) * 2
    np.savez(path, **{**arrays, **changes})
    return path


def test_pack_joins_train_and_val(tmp_path):
    sets = detection.load_data(f"pack:{write_pack(tmp_path / 'cells.npz')}")
    same(sets.train, scenes.source(4).subset([0, 1, 2]))
    same(sets.test, scenes.source(4).subset([3]))
    assert sets.val is not None
    kept = sets.without_val()
    assert [len(part) for part in (kept.train, kept.val, kept.test)] == [
        len(sets.train) - len(sets.val),
        len(sets.val),
        1,
    ]
    same(sets.val, sets.train.subset(range(len(kept.train), len(sets.train))))
    with pytest.raises(ValueError, match="no part val"):
        sets._replace(val=None).without_val()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_box_class": np.array([1, 7])}, r"test_box_class\[1\] is 7"),
        ({"train_off": np.array([0, 5, 10**9])}, "train_off must rise"),
        ({"val_boxes": np.zeros((3, 4))}, "val_boxes"),
    ],
)
def test_a_damaged_pack_is_named(tmp_path, changes, message):
    path = write_pack(tmp_path / "cells.npz", **changes)
    with pytest.raises(ValueError, match=rf"cells\.npz.*{message}"):
        detection.pack(path)


def test_boxes_are_cut_to_the_image_and_those_without_area_left_out(caplog):
    boxes = check_boxes([[-4, 5, 30, 20], [3, 3, 3, 9]], [1, 0], [True, False], (20, 20), "a.xml")
    np.testing.assert_allclose(boxes.boxes, [[0, 0.25, 1, 1]])
    assert boxes.classes.tolist() == [1] and boxes.difficult.tolist() == [True]


def test_batches_resume_and_boxes_follow_the_pictures():
    source = scenes.source(5)
    stream = iter(pipeline.batches(source, 2, (96, 128), seed=3))
    first = [next(stream) for _ in range(8)]
    again = next(iter(pipeline.batches(source, 2, (96, 128), seed=3, start_step=7)))
    for value, other in zip(first[7], again, strict=True):
        np.testing.assert_array_equal(value, other)
    seen = 0
    for images, boxes, classes in first:
        for image, box, kind in zip(images.numpy(), boxes.numpy(), classes.numpy(), strict=True):
            redder = image[..., 0] - image[..., 2] > 80
            bluer = image[..., 2] - image[..., 0] > 80
            found = np.zeros_like(redder)
            for (x0, y0, x1, y1), k in zip(box * [128, 96, 128, 96], kind, strict=True):
                rows, columns = slice(round(y0), round(y1)), slice(round(x0), round(x1))
                found[rows, columns] = True
                if k >= 0:
                    assert (redder if k else bluer)[rows, columns].mean() > 0.85
                    seen += 1
            assert ((redder | bluer) & ~found).mean() < 0.03  # no rectangle is without its box
    assert seen > 20


def test_unaugmented_batches_are_the_pictures():
    source = scenes.source(3)
    images, boxes, classes = next(iter(pipeline.batches(source, 3, (48, 64), augment=False)))
    order = [int(np.argmin([np.abs(image - source.image(i)).sum() for i in range(3)])) for image in images.numpy()]
    assert sorted(order) == [0, 1, 2]
    for k, i in enumerate(order):
        np.testing.assert_array_equal(images[k], source.image(i))
        np.testing.assert_array_equal(boxes[k], source.things[i].boxes)
        np.testing.assert_array_equal(classes[k], source.things[i].classes)


def test_difficult_boxes_and_empty_rows_have_no_class():
    source = scenes.source(2)
    source.things[0].difficult[1] = True
    source.things[1] = check_boxes(np.zeros((0, 4)), [], [], (64, 48), "none")
    _, classes = pipeline.padded(source)
    assert classes[0].tolist() == [1, pipeline.IGNORED] and set(classes[1]) == {pipeline.NOTHING}


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"image_size": (0, 4)}, {"seed": -1}])
def test_bad_arguments_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        pipeline.batches(scenes.source(2), **{"batch_size": 2, "image_size": (48, 64), **bad})


def test_unknown_data_names_the_forms():
    with pytest.raises(ValueError, match=r"voc:FOLDER.*received 'folder:x'"):
        detection.load_data("folder:x")


def test_splits_are_the_same_each_time():
    train, held_out = scenes.source(6).split(0.34)
    assert len(held_out) == 2 and set(train.indices) | set(held_out.indices) == set(range(6))
    assert scenes.source(6).split(0.34)[1].indices.tolist() == held_out.indices.tolist()
    assert tf.reduce_all(train.things[0].boxes == scenes.source(6).things[train.indices[0]].boxes)
