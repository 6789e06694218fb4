import logging

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
    with pytest.raises(ValueError, match=r"split must be None, 'train' or 'test', received 'val'"):
        image_folder(flowers, "val")
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
