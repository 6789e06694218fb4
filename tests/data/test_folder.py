import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ds_keras.data import batches, evaluation_batches, image_folder, load


@pytest.fixture
def flowers(save, tmp_path, rng):
    """Two classes of six images: formats, sizes and modes mixed, one of them below a sub-folder."""
    for k, (name, grey) in enumerate({"rose": 40, "daisy": 200}.items()):
        for i, suffix in enumerate(("jpg", "png", "bmp", "gif", "webp", "JPEG")):
            pixels = np.full([10 + i, 12 - i + k, 3], grey)
            save(f"set/{name}/{'deep/' if i == 2 else ''}{i}.{suffix}", pixels)
    save("set/rose/1.png", Image.new("CMYK", (9, 9)).convert("RGBA"))
    (tmp_path / "set/rose/notes.txt").write_text("not an image")
    (tmp_path / "set/rose/.hidden.jpg").write_text("not an image")
    (tmp_path / "set/.cache").mkdir()
    return tmp_path / "set"


def test_one_tree_is_split(flowers):
    sets = image_folder(flowers, held_out=4, seed=1)
    train, test = sets["train"], sets["test"]
    assert train.class_names == ["daisy", "rose"] and (len(train), len(test)) == (8, 4)
    assert np.bincount(test.labels).tolist() == [2, 2] and not train.corrupt
    assert len(image_folder(flowers, "test", held_out=4, seed=1)) == 4
    assert len(load(f"folder:{flowers}")["test"]) == 1


def test_pixels(flowers):
    """Plain JPEG files take TensorFlow's decoder, the others Pillow: both are in one graph."""
    train = image_folder(flowers, "train", held_out=1)
    assert 0 < train.storage.plain.sum() < len(train.storage)
    for verify in (True, False):
        source = image_folder(flowers, "train", held_out=1, verify=verify)
        assert (source.storage.plain is None) == (not verify)
        load = tf.function(source.load)
        for i in range(len(source)):
            image = load(tf.constant(i, tf.int64)).numpy()
            np.testing.assert_array_equal(image, source.storage.read(source.indices[i]))
            grey = 200 if source.labels[i] == 0 else (255, 40)
            assert np.abs(image.astype(int)[..., None] - grey).min(-1).max() < 8
    first = list(batches(train, 4, 0, "rrc,flip", image_size=8, end_step=4).as_numpy_iterator())
    again = list(batches(train, 4, 0, "rrc,flip", image_size=8, start_step=2, end_step=4).as_numpy_iterator())
    np.testing.assert_array_equal(first[2][0], again[0][0])
    assert sum(len(y) for _, y in evaluation_batches(train, 4, image_size=8)) == 11


@pytest.mark.parametrize("name", ["test", "val", "validation"])
def test_train_and_test_trees(flowers, save, name):
    flowers = flowers.rename(flowers.with_name("train")).parent
    save(f"{name}/rose/0.png", np.zeros([4, 4, 3]))
    sets = image_folder(flowers)
    assert len(sets["train"]) == 12 and sets["test"].labels.tolist() == [1]
    assert sets["test"].class_names == ["daisy", "rose"]
    save(f"{name}/tulip/0.png", np.zeros([4, 4, 3]))
    with pytest.raises(ValueError, match=r"named like the training classes \['daisy', 'rose'\], found \['tulip'\]"):
        image_folder(flowers)


def test_a_third_part(flowers, save):
    root = flowers.rename(flowers.with_name("train")).parent
    for name, count in (("test", 1), ("Valid", 2)):
        for i in range(count):
            save(f"{name}/rose/{i}.png", np.full([4, 4, 3], i))
    sets = image_folder(root)
    assert {name: len(part) for name, part in sets.items()} == {"train": 12, "test": 1, "val": 2}
    assert sets["val"].class_names == ["daisy", "rose"] and len(image_folder(root, "val")) == 2
    shutil.rmtree(root / "test")
    with pytest.raises(ValueError, match=r"split must be one of \['test', 'train'\] for .*, received 'val'"):
        image_folder(root, "val")


def test_train_tree_alone_is_split(flowers):
    root = flowers.parent
    flowers.rename(root / "train")
    assert len(image_folder(root, held_out=0.25)["test"]) == 3


def test_corrupt_images_are_named_and_left_out(flowers, caplog, monkeypatch):
    whole = image_folder(flowers)["train"].storage
    (flowers / "rose/0.jpg").write_bytes((flowers / "rose/0.jpg").read_bytes()[:-20])
    (flowers / "daisy/1.png").write_bytes(b"")
    (flowers / "daisy/4.webp").write_bytes(b"RIFF")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15 * 15)
    Image.new("RGB", (40, 40)).save(flowers / "daisy/bomb.png")
    with caplog.at_level(logging.WARNING, logger="ds_keras.data.readers.folder"):
        sets = image_folder(flowers)
    names = [f"{flowers}/{name}" for name in ("daisy/1.png", "daisy/4.webp", "daisy/bomb.png", "rose/0.jpg")]
    assert sets["train"].corrupt == sets["test"].corrupt == names
    assert [sum(name in record.getMessage() for record in caplog.records) for name in names] == [1, 1, 1, 1]
    assert "4 of 13 images are left out" in caplog.text
    kept = sets["train"].storage
    assert kept.paths == [path for path in whole.paths if path not in names]
    assert list(sets["train"].images(size=4).shape[:1]) == [len(sets["train"])]


def test_without_verification_a_corrupt_image_stops_by_name(flowers):
    (flowers / "rose/1.png").write_bytes(b"junk")
    train = image_folder(flowers, verify=False)["train"]
    with pytest.raises(Exception, match=r"cannot decode the image .*rose/1.png"):
        train.images(size=4)


def test_bad_folders(flowers, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none is not a folder"):
        image_folder(tmp_path / "none")
    with pytest.raises(ValueError, match=r"split must be None, 'train', 'test' or 'val', received 'dev'"):
        image_folder(flowers, "dev")
    (flowers / "tulip").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*tulip holds no image"):
        image_folder(flowers)
    (flowers / "tulip/a.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"class folder .*tulip holds no image that can be decoded"):
        image_folder(flowers)
    with pytest.raises(ValueError, match=r"at least two classes, found \['deep'\]"):
        image_folder(flowers / "rose")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty must hold a folder for each of at least two classes"):
        image_folder(tmp_path / "empty")
    (tmp_path / "odd/test/rose").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"has the folder test but no train folder"):
        image_folder(tmp_path / "odd")


@pytest.fixture
def two(save, tmp_path):
    """Two classes of two images."""
    for name, grey in {"cat": 10, "dog": 200}.items():
        for i in range(2):
            save(f"set/{name}/{i}.png", np.full([6, 5 + i, 3], grey + i))
    return tmp_path / "set"


def test_what_is_skipped_is_counted(two, save, caplog):
    for folder in (".ipynb_checkpoints", "@eaDir", "__MACOSX", ".thumbnails"):
        save(f"set/{folder}/0.png", np.zeros([4, 4, 3]))
        save(f"set/cat/{folder}/0.png", np.zeros([4, 4, 3]))
    (two / "dog/notes.txt").write_text("no image")
    (two / "dog/.DS_Store").write_text("no image")
    os.mkfifo(two / "dog/pipe.jpg")
    with caplog.at_level(logging.WARNING):
        sets = image_folder(two, held_out=1)
    assert sets["train"].class_names == ["cat", "dog"] and len(sets["train"]) == 3
    assert "set: skipped 5 hidden, 1 not images, 1 not regular files, 4 of the system" in caplog.text


def test_images_by_name_and_by_content(two):
    for name in ("0.jfif", "1.JPE", "without", "odd.dat"):
        Image.new("RGB", (4, 4)).save(two / "cat" / name, "JPEG")
    assert len(image_folder(two, "train", held_out=1)) == 7


@pytest.mark.parametrize(
    ("train", "test"), [("Train", "Test"), ("train", "valid"), ("training", "testing"), ("seg_train", "seg_test")]
)
def test_names_of_splits(two, save, train, test):
    root = two.rename(two.with_name(train)).parent
    save(f"{test}/{test}/cat/0.png", np.zeros([4, 4, 3]))  # packed twice, as archives often are
    sets = image_folder(root)
    assert (len(sets["train"]), len(sets["test"])) == (4, 1)


def test_classes_may_be_called_as_a_split(two):
    (two / "cat").rename(two / "valid")
    (two / "dog").rename(two / "invalid")
    assert image_folder(two, "train", held_out=1).class_names == ["invalid", "valid"]


def test_folders_above_the_classes_are_refused(two, tmp_path):
    two.rename(tmp_path / "day")
    shutil.copytree(tmp_path / "day", tmp_path / "night")
    with pytest.raises(ValueError, match=r"\['day', 'night'\] cannot be classes, .* the same folders \['cat', 'dog'\]"):
        image_folder(tmp_path)


def test_names_compare_in_one_unicode_form(two, save):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (two / "cat").rename(two / decomposed)
    root = two.rename(two.with_name("train")).parent
    save(f"test/{composed}/0.png", np.zeros([4, 4, 3]))
    sets = image_folder(root)
    assert sets["train"].class_names == sets["test"].class_names == [composed, "dog"]
    save(f"test/{decomposed}/0.png", np.zeros([4, 4, 3]))
    with pytest.raises(ValueError, match="have the same name in different Unicode forms"):
        image_folder(root)


def test_links_may_not_leave_the_folder_unless_asked(two, save, tmp_path):
    (two / "cat/inside.png").symlink_to(two / "cat/0.png")
    assert len(image_folder(two, "train", held_out=1)) == 4
    outside = save("elsewhere/secret.png", np.zeros([4, 4, 3]))
    (two / "cat/outside.png").symlink_to(outside)
    with pytest.raises(ValueError, match=r"cat/outside.png is a link out of .*follow_links=True"):
        image_folder(two)
    assert len(load(f"folder+links:{two}")["train"]) == 5
    (two / "cat/outside.png").unlink()
    (two / "mouse").symlink_to(outside.parent)
    with pytest.raises(ValueError, match="mouse is a link out of"):
        image_folder(two)
    (two / "mouse").unlink()
    (two / "cat/loop").symlink_to(two / "cat")
    assert len(image_folder(two, "train", held_out=1, follow_links=True)) == 4


def test_the_same_picture_on_both_sides_is_reported(two, caplog):
    shutil.copytree(two, two.with_name("all") / "train")
    root = two.with_name("all")
    (root / "test/dog").mkdir(parents=True)
    shutil.copy(two / "cat/0.png", root / "test/dog/copy.png")
    with caplog.at_level(logging.WARNING):
        image_folder(root)
    assert "1 of 1 test images are training images too, the first is " in caplog.text and "dog/copy.png" in caplog.text


def test_a_jpeg_without_its_end_is_read_as_it_was_verified(two):
    """Pillow takes what TensorFlow refuses: the file is then read by Pillow in training too."""
    path = two / "cat/0.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8")).save(path)
    path.write_bytes(path.read_bytes()[:-2])
    source = image_folder(two, "train", held_out=1)
    assert str(path) in source.storage.paths or str(path) in source.corrupt
    load = tf.function(source.storage.load)
    for i in range(len(source.storage)):
        np.testing.assert_array_equal(load(tf.constant(i, tf.int64)), source.storage.read(i))


def test_a_file_that_changed_after_opening_is_named(two):
    for i in range(2):
        Image.new("RGB", (8, 8)).save(two / f"cat/{i}.jpg")
    source = image_folder(two, "train", held_out=1)
    for path in source.storage.paths:
        Path(path).write_bytes(b"\xff\xd8\xff")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"cannot decode the image .*cat/0.jpg"):
        list(evaluation_batches(source, 2, image_size=4))
    with pytest.raises(ValueError, match=r"^cannot decode the image [^\n]*cat/0.jpg[^\n]*$"):
        source.images(8)
    Path(source.storage.paths[0]).unlink()
    with pytest.raises(ValueError, match=r"[^\n]*No such file or directory: '[^\n]*cat/0.jpg'$"):
        source.images(8)
