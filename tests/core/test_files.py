import errno
import hashlib
import json
import os

import numpy as np
import pytest

from ds_keras.core.files import (
    check_output,
    parse_json,
    read_json,
    replacing,
    sha256,
    shown,
    sweep,
    write_bytes,
    write_json,
)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("there", [False, True])
def test_a_block_that_ends_well_replaces(tmp_path, there):
    path = tmp_path / "deep" / "er" / "logits.npy"
    if there:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"old")
    with replacing(path) as temporary:
        assert temporary != path and temporary.name == path.name
        np.save(temporary, np.arange(3))
        assert path.exists() == there and (not there or path.read_bytes() == b"old")
    assert list(contents(tmp_path)) == ["deep/er/logits.npy"]
    assert np.load(path).tolist() == [0, 1, 2]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("written", [None, b"", b"half of it"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_raises_leaves_the_old_file(tmp_path, written, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), replacing(str(path)) as temporary:
        if written is not None:
            temporary.write_bytes(written)
        raise error
    assert contents(tmp_path) == {"file.bin": b"old"} and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_with_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left on device: .*report.html"), replacing(tmp_path / "report.html"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_places_to_write_to(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for good in ("new", "new/deep/file", "file", "."):
        check_output(tmp_path / good)
    os.mkfifo(tmp_path / "pipe")
    for bad, why in {
        "file/in": "is no directory",
        "x" * 300: "255 bytes",
        "a\0": "no path",
        "pipe": "no regular file",
    }.items():
        with pytest.raises(ValueError, match=why):
            check_output(tmp_path / bad)
    with pytest.raises(ValueError, match="it is a directory"):
        check_output(tmp_path, file=True)
    with pytest.raises(ValueError, match="nothing may be written in /proc"):
        check_output("/proc/new")
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


@pytest.mark.parametrize("data", [b"[" * 65 + b"]" * 65, b"[" * 10**6, b"1" * 20, b"\xff", b"{} {}", b""])
def test_json_is_bounded(tmp_path, data):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match="cannot read .*a.json: "):
        read_json(tmp_path / "a.json")
    assert parse_json(b'{"[[[": [1, "\\"[[["]}') == {"[[[": [1, '"[[[']}


def test_names_of_others_are_shown_without_codes():
    text = shown("a\x1b[31m\ud800\nü" + "x" * 300)
    assert text.isprintable() and text.startswith(r"a\x1b[31m\ud800\nü") and text.endswith("xxx...")


def test_a_block_that_writes_nothing(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert contents(tmp_path) == {"file.bin": b"old"} and list(tmp_path.iterdir()) == [path]


def test_the_data_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (calls.append(os.readlink(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_bytes(tmp_path / "a", b"text")
    file, name, folder = calls
    assert file.endswith("/a") and name == "replace" and folder == str(tmp_path)


def test_a_rename_that_fails(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_bytes(tmp_path / "a", b"new")
    assert contents(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "ü"]}, [], "text"])
def test_write_json(tmp_path, value):
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == value and text.endswith("\n") and text == json.dumps(value, indent=2) + "\n"


def test_write_json_of_what_is_not_json(tmp_path):
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"a": object()})
    assert contents(tmp_path) == {"a.json": b"old"}


@pytest.mark.parametrize("data", [b"", b"abc", bytes(range(256)) * 5000])
def test_sha256(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == sha256(str(tmp_path / "a")) == hashlib.sha256(data).hexdigest()


def test_sha256_of_a_known_text(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_sweep_removes_what_was_left_long_ago(tmp_path):
    sweep(tmp_path / "none")
    old, young = tmp_path / ".writing-old", tmp_path / ".writing-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "body_0.tflite").write_bytes(b"half")
    (tmp_path / "body_0.tflite").write_bytes(b"whole")
    os.utime(old, (1, 1))
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-young", "body_0.tflite"]
