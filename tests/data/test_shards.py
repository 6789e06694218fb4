"""Shards that are written in parts, checked, and read by several workers."""

import os
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from programs import run_command

from ds_keras.data import Source, batches, read_tfrecords, verify_tfrecords, write_tfrecords
from ds_keras.data.readers import tfrecord
from ds_keras.data.readers.records import COLUMNS, RecordStorage


@pytest.fixture
def interrupted(source, tmp_path, monkeypatch):
    """A directory in which one shard of three was finished; and the shards that are written, as they are."""
    written = []

    def shard(*arguments):
        written.append(arguments[2])
        if written == [0, 1]:
            raise KeyboardInterrupt
        return write(*arguments)

    write = tfrecord._write_shard
    monkeypatch.setattr(tfrecord, "_write_shard", shard)
    with pytest.raises(KeyboardInterrupt):
        write_tfrecords(source, tmp_path / "set", 3, resume=True)
    return tmp_path / "set", written


def test_a_write_goes_on_where_it_was_interrupted(source, interrupted, tmp_path):
    directory, written = interrupted
    seen = []
    write_tfrecords(source, directory, 3, resume=True, progress=lambda *done: seen.append(done))
    assert written == [0, 1, 1, 2] and seen == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.suffix for path in directory.iterdir()) == [".json", ".npz", *[".tfrecord"] * 3]
    np.testing.assert_array_equal(read_tfrecords(directory).images(), source.images())
    for path in write_tfrecords(source, tmp_path / "whole", 3).iterdir():
        assert path.suffix == ".npz" or path.read_bytes() == (directory / path.name).read_bytes()


def test_notes_of_other_images_are_not_believed(source, interrupted):
    directory, written = interrupted
    other = source.subset(np.arange(len(source))[::-1])
    write_tfrecords(other, directory, 3, resume=True)
    assert written == [0, 1, 0, 1, 2]
    np.testing.assert_array_equal(read_tfrecords(directory).images(), other.images())


def test_checksums(source, tmp_path):
    directory = write_tfrecords(source, tmp_path / "train", 2)
    verify_tfrecords(directory)
    assert run_command("shards", "--verify", f"--directory={tmp_path}").returncode == 0
    shard = directory / "images-00001-of-00002.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    read_tfrecords(directory)  # of the right size
    with pytest.raises(ValueError, match=r"images-00001-of-00002.tfrecord has another SHA-256"):
        verify_tfrecords(directory)
    result = run_command("shards", "--verify", f"--directory={tmp_path}")
    assert result.returncode == 2 and "another SHA-256" in result.stderr


def test_a_full_disk_is_named_with_the_shard(source, tmp_path, monkeypatch):
    def full(self, record):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.TFRecordWriter, "write", full)
    with pytest.raises(OSError, match="cannot write .*images-00000-of-00002.tfrecord: No space left on device"):
        write_tfrecords(source, tmp_path / "train", 2)
    assert not list((tmp_path / "train").iterdir())


@pytest.mark.parametrize("name", ["images-00000-of-00002.tfrecord", "index.json"])
def test_pipes_are_not_read(source, tmp_path, name):
    directory = write_tfrecords(source, tmp_path / "train", 2)
    (directory / name).unlink()
    os.mkfifo(directory / name)
    with pytest.raises(ValueError, match=f"{name}.*it is not a regular file"):
        verify_tfrecords(directory)


def test_the_command_writes_both_parts_once(tmp_path):
    flags = ["shards", "--data=digits", f"--directory={tmp_path}", "--shards=2"]
    result = run_command(*flags)
    assert result.returncode == 0, result.stderr
    assert len(read_tfrecords(tmp_path / "train")) + len(read_tfrecords(tmp_path / "test")) == 1797
    assert "is there already" in run_command(*flags).stdout
    for wrong in (flags[:1] + flags[2:], [*flags, "--verify"]):
        assert "exactly one of --data and --verify" in run_command(*wrong).stderr


def test_each_of_four_workers_reads_a_quarter(source, tmp_path, monkeypatch):
    stored = read_tfrecords(write_tfrecords(source.subset(np.arange(48)), tmp_path, 5))
    read = []
    encoded = RecordStorage.encoded
    monkeypatch.setattr(RecordStorage, "encoded", lambda self, index: read.append(index) or encoded(self, index))
    each = []
    for worker in range(4):
        read.clear()
        context = tf.distribute.InputContext(4, worker, 4)
        assert len(list(batches(stored, 16, 0, image_size=6, end_step=3, context=context))) == 3
        each.append(sorted(read))
    assert [len(part) for part in each] == [12] * 4 and sorted(np.concatenate(each)) == list(range(48))


def test_many_threads_read_many_shards(source, tmp_path, monkeypatch):
    monkeypatch.setattr("ds_keras.data.readers.records.OPEN", 2)
    stored = read_tfrecords(write_tfrecords(source, tmp_path, 20))
    expected = [stored.storage.encoded(k) for k in range(len(source))]
    wrong = []

    def look(seed):
        for k in np.random.default_rng(seed).integers(0, len(source), 200).tolist():
            if stored.storage.encoded(k) != expected[k]:
                wrong.append(k)

    threads = [threading.Thread(target=look, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def large(directory, count, shards):
    """An index of so many records, and shards of the right size that hold the same record again and again."""
    tiny = Source.from_arrays(np.full([1, 1, 1, 1], 7, "uint8"), [0], ["a"])
    directory = write_tfrecords(tiny, directory, 1)
    (shard,) = directory.glob("*.tfrecord")
    record = shard.read_bytes()
    columns = dict(np.load(directory / "index.npz"))
    about = tfrecord._about(directory / "index.json")
    shard.unlink()
    names = [f"images-{k:05d}.tfrecord" for k in range(shards)]
    bounds = np.linspace(0, count, shards + 1).astype(int)
    for k, name in enumerate(names):
        (directory / name).write_bytes(record * int(bounds[k + 1] - bounds[k]))
    shard_of = np.searchsorted(bounds, np.arange(count), side="right") - 1
    place = np.arange(count) - bounds[shard_of]
    many = {key: np.repeat(columns[key], count) for key in COLUMNS}
    many |= {"shard": shard_of.astype("i4"), "offset": columns["offset"][0] + place * len(record)}
    np.savez(directory / "index.npz", **many)
    (directory / "index.json").write_text(tfrecord.json.dumps({**about, "count": count, "shards": names}))


@pytest.mark.slow
def test_a_large_set_opens_at_once(tmp_path):
    count = 1_281_167
    large(tmp_path, count, 1024)
    list(batches(Source.from_arrays(np.zeros([4, 1, 1, 1], "uint8"), [0] * 4, ["a"]), 2, 0, end_step=1))  # TensorFlow's
    before, began = _memory(), time.process_time()
    stored = read_tfrecords(tmp_path)
    opened = time.process_time() - began
    context = tf.distribute.InputContext(4, 3, 4)
    x, _ = next(iter(batches(stored, 256, 0, context=context)))
    first = time.process_time() - began - opened
    print(f"opened in {opened:.2f} s, first batch {first:.2f} s, memory {_memory() - before:.0f} MB")
    assert x.shape == (64, 1, 1, 1) and len(stored) == count
    assert opened < 2 and first < 1 and _memory() - before < 100


def _memory():
    """MB of this process that are in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
