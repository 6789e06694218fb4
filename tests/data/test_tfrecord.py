import json

import numpy as np
import pytest
import tensorflow as tf

from ds_keras.data import Source, batches, image_folder, load, read_tfrecords, write_tfrecords
from ds_keras.data.readers import tfrecord


@pytest.fixture
def mixed(save):
    """JPEG and PNG files of varied sizes."""
    for i in range(8):
        save(f"set/{'ab'[i % 2]}/{i}.{'jpg' if i < 5 else 'png'}", np.full([8 + i, 9, 3], 25 * i))
    return image_folder(save("x.png", np.zeros([1, 1, 3])).parent / "set", "train", held_out=1)


@pytest.mark.parametrize("kind", ["colour", "grey", "mixed"])
def test_round_trip(source, mixed, tmp_path, kind):
    if kind == "grey":
        source = Source.from_arrays(source.images()[..., :1], source.labels, source.class_names, "grey")
    source = mixed if kind == "mixed" else source.subset(np.arange(0, 53, 2))
    directory = write_tfrecords(source, tmp_path / "out", shards=3)
    again = read_tfrecords(directory)
    assert (again.image_shape, again.class_names, again.name) == (source.image_shape, source.class_names, source.name)
    np.testing.assert_array_equal(again.labels, source.labels)
    np.testing.assert_array_equal(again.images(size=8), source.images(size=8))
    kwargs = {"augment": "rrc,flip", "image_size": 6}
    whole = list(batches(again, 4, 0, end_step=6, **kwargs).as_numpy_iterator())
    part = list(batches(again, 4, 0, start_step=4, end_step=6, **kwargs).as_numpy_iterator())
    np.testing.assert_array_equal(whole[4][0], part[0][0])
    if kind == "mixed":
        assert 0 < again.storage.plain.sum() < len(again)
        assert again.storage.encoded(0) == source.storage.encoded(source.indices[0])
    assert len(list(directory.iterdir())) == 5


def test_other_programs_can_read_the_shards(source, tmp_path):
    directory = write_tfrecords(source, tmp_path, shards=2)
    records = tf.data.TFRecordDataset(sorted(map(str, directory.glob("*.tfrecord"))))
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    }
    rows = [tf.io.parse_single_example(record, features) for record in records]
    np.testing.assert_array_equal([row["image/class/label"] for row in rows], source.labels)
    np.testing.assert_array_equal(tf.io.decode_png(rows[50]["image/encoded"]), source.images()[50])


def test_load(source, tmp_path):
    write_tfrecords(source, tmp_path / "train", shards=1)
    with pytest.raises(FileNotFoundError, match=r"test.index\.json is missing"):
        load(f"tfrecord:{tmp_path}")
    write_tfrecords(source.subset([1, 2]), tmp_path / "val", shards=1)
    assert len(load(f"tfrecord:{tmp_path}")["test"]) == 2


def test_torn_shards(source, tmp_path):
    directory = write_tfrecords(source, tmp_path, shards=2)
    shard = sorted(directory.glob("*.tfrecord"))[1]
    good = shard.read_bytes()
    for content in (good[:-1], good + b"\0", b""):
        shard.write_bytes(content)
        with pytest.raises(ValueError, match=r"images-00001-of-00002.tfrecord is torn: \d+ bytes, the index says \d+"):
            read_tfrecords(directory)
    shard.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    with pytest.raises(ValueError, match=r"record 26 of .*images-00001-of-00002.tfrecord at byte 12 is damaged"):
        read_tfrecords(directory).images()
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"images-00001-of-00002.tfrecord is missing"):
        read_tfrecords(directory)


def test_an_interrupted_write_leaves_no_index(source, tmp_path, monkeypatch):
    calls = []

    def interrupt(data, channels):
        calls.append(data)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return decode(data, channels)

    decode = tfrecord.decode
    monkeypatch.setattr(tfrecord, "decode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_tfrecords(source, tmp_path, shards=2)
    assert [path.name for path in tmp_path.iterdir()] == ["images-00000-of-00002.tfrecord"]
    with pytest.raises(FileNotFoundError, match=r"or one that was not finished"):
        read_tfrecords(tmp_path)
    assert len(read_tfrecords(write_tfrecords(source, tmp_path, shards=2))) == 53


def test_errors(source, tmp_path):
    for shards in (0, 54, 1.5, True):
        with pytest.raises(ValueError, match=r"shards must be an integer in \[1, 53\]"):
            write_tfrecords(source, tmp_path, shards)
    write_tfrecords(source, tmp_path, 1)
    with pytest.raises(FileExistsError, match=r"holds an index already"):
        write_tfrecords(source, tmp_path, 1)
    index = tmp_path / "index.json"
    about = json.loads(index.read_text())
    index.write_text(json.dumps({**about, "format_version": 9}))
    with pytest.raises(ValueError, match=r"has format_version 9, this version reads 1"):
        read_tfrecords(tmp_path)
    index.write_text(json.dumps({**about, "count": 9}))
    with pytest.raises(ValueError, match=r"index.npz does not hold 9 images"):
        read_tfrecords(tmp_path)
    (tmp_path / "index.npz").write_bytes((tmp_path / "index.npz").read_bytes()[:-30])
    index.write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"the index of .* is damaged: BadZipFile"):
        read_tfrecords(tmp_path)
    for content in ("{", "{}", "[]"):
        index.write_text(content)
        with pytest.raises(ValueError, match=r"the index of .* is damaged"):
            read_tfrecords(tmp_path)
