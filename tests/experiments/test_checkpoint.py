import hashlib
import io
import json
import os
import zipfile

import keras
import numpy as np
import pytest
from fuzz import fuzz
from helpers import array, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ds_keras.experiments.checkpoint import restore_checkpoint, save_checkpoint
from ds_keras.experiments.workdir import claim


def variables(value=0.0, shapes=((2, 3), (), (4,))):
    made = [
        keras.Variable(np.full(shape, value, "float32") + np.arange(np.prod(shape)).reshape(shape)) for shape in shapes
    ]
    return [*made, keras.Variable(np.int64(value), dtype="int64", trainable=False)]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_round_trip(tmp_path):
    saved, twin = variables(5), variables()
    path = save_checkpoint(tmp_path / "new", 12, saved, {"seconds": 1.5})
    assert path == tmp_path / "new" / "step-000000012.npz" and names(tmp_path / "new") == [path.name]
    assert restore_checkpoint(tmp_path / "new", twin) == {"step": 12, "seconds": 1.5}
    for a, b in zip(saved, twin, strict=True):
        same(array(b), array(a))
        assert a.dtype == b.dtype


def test_special_values_come_back(tmp_path):
    special = keras.Variable(np.array([np.nan, np.inf, -0.0, 1e-45, 2**-126], "float32"))
    expected = array(special).tobytes()
    save_checkpoint(tmp_path, 1, [special])
    special.assign(np.ones(5))
    restore_checkpoint(tmp_path, [special])
    assert array(special).tobytes() == expected


def test_nothing_there(tmp_path):
    twin = variables(3)
    assert restore_checkpoint(tmp_path / "absent", twin) is None
    (tmp_path / "step-1.npz.writing").write_bytes(b"")
    (tmp_path / "step-x.npz").write_bytes(b"")
    assert restore_checkpoint(tmp_path, twin) is None
    same(twin[0], variables(3)[0])


@pytest.mark.parametrize(("keep", "left"), [(1, [11]), (2, [10, 11]), (3, [9, 10, 11]), (20, range(12))])
def test_keep(tmp_path, keep, left):
    """By number, not by name or age; other files stay."""
    (tmp_path / "notes.txt").write_text("mine")
    for step in range(12):
        save_checkpoint(tmp_path, step, variables(step), keep=keep)
    assert names(tmp_path) == sorted(["notes.txt", *(f"step-{step:09d}.npz" for step in left)])


def test_the_newest_wins(tmp_path):
    for step in (999_999_999, 1_000_000_000, 5):
        save_checkpoint(tmp_path, step, variables(step % 7))
    twin = variables()
    assert restore_checkpoint(tmp_path, twin)["step"] == 1_000_000_000
    same(twin[0], variables(1_000_000_000 % 7)[0])


def plain_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.arange(3))


def object_array(path):
    np.savez(path, meta=np.array(json.dumps({"step": 2})), v00000=np.array([Evil()], object))


def object_meta(path):
    np.savez(path, meta=np.array([Evil()], object), v00000=np.zeros(3))


class Evil:
    """Its pickle runs code when it is loaded."""

    ran = False

    def __reduce__(self):
        return setattr, (Evil, "ran", True)


def without_meta(path):
    np.savez(path, v00000=np.zeros((2, 3)))


def bad_meta(path):
    np.savez(path, meta=np.array("{"), v00000=np.zeros((2, 3)))


def gap(path):
    np.savez(path, meta=np.array(json.dumps({"step": 2})), v00000=np.zeros((2, 3)), v00002=np.zeros(4))


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * share)])


DAMAGE = {
    "cut 0": cut(0),
    "cut 10": cut(0.1),
    "cut 50": cut(0.5),
    "cut 99": cut(0.99),
    "zeros": lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    "garbage": lambda path: path.write_bytes(np.random.default_rng(0).bytes(3000)),
    "text": lambda path: path.write_text("not a checkpoint"),
    "npy": plain_npy,
    "objects": object_array,
    "object meta": object_meta,
    "no meta": without_meta,
    "bad meta": bad_meta,
    "gap": gap,
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_damaged_one_is_passed_over(tmp_path, damage, caplog):
    save_checkpoint(tmp_path, 1, variables(1))
    newest = save_checkpoint(tmp_path, 2, variables(2))
    DAMAGE[damage](newest)
    twin = variables()
    with caplog.at_level("WARNING", "absl"):
        assert restore_checkpoint(tmp_path, twin)["step"] == 1
    same(twin[0], variables(1)[0])
    assert "passing over the damaged checkpoint" in caplog.text and newest.name in caplog.text
    assert not Evil.ran
    (tmp_path / "step-000000001.npz").unlink()
    assert restore_checkpoint(tmp_path, twin) is None


def test_a_directory_with_its_name(tmp_path):
    save_checkpoint(tmp_path, 1, variables(1))
    (tmp_path / "step-000000002.npz").mkdir()
    assert restore_checkpoint(tmp_path, variables())["step"] == 1


@settings(derandomize=True, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_any_flipped_byte(tmp_path_factory, place, bits):
    """The newest, if the byte is no part of what is read; else the one before. Never an error, never other values."""
    directory = tmp_path_factory.mktemp("flipped")
    save_checkpoint(directory, 1, variables(1))
    path = save_checkpoint(directory, 2, variables(2))
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= bits
    path.write_bytes(data)
    twin = variables()
    step = restore_checkpoint(directory, twin)["step"]
    for a, b in zip(twin, variables(step), strict=True):
        same(array(a), array(b))


@pytest.mark.parametrize(
    "members",
    [
        {"meta.npy": None, "v00000": b"no array"},
        {"meta.npy": None, "v00000.npy": np.array(["a"])},
        {"meta.npy": np.array("[]"), "v00000.npy": np.ones(2)},
        {"meta.npy": np.array('{"step": "1"}'), "v00000.npy": np.ones(2)},
        {"meta.npy": np.array('{"step": ' + "9" * 5000 + "}"), "v00000.npy": np.ones(2)},
    ],
    ids=["bytes", "text", "a list", "a step of text", "a step of 5,000 digits"],
)
def test_a_whole_file_of_other_content(tmp_path, members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, value in members.items():
            value = np.array('{"step": 1}') if value is None else value
            with archive.open(name, "w") as file:
                file.write(value) if isinstance(value, bytes) else np.save(file, value)
    data = content.getvalue()
    (tmp_path / "step-000000001.npz").write_bytes(data + hashlib.sha256(data).digest())
    assert restore_checkpoint(tmp_path, variables(0, [(2,)])[:1]) is None


def test_what_stands_in_place_of_a_checkpoint(tmp_path):
    """It is passed over: a pipe is not opened, and a folder is no checkpoint to remove."""
    save_checkpoint(tmp_path, 1, variables(1))
    os.mkfifo(tmp_path / "step-000000003.npz")
    (tmp_path / "step-000000000.npz").mkdir()
    assert restore_checkpoint(tmp_path, variables())["step"] == 1
    save_checkpoint(tmp_path, 4, variables(4), keep=1)
    assert names(tmp_path) == ["step-000000000.npz", "step-000000004.npz"]


@pytest.mark.parametrize("name", ["experiment.json", "metrics.jsonl", "stage1", "preset"])
def test_a_pipe_where_a_run_writes_is_refused(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"workdir: cannot write to .*{name}: .* is no regular file"):
        claim(tmp_path, None, None)


@pytest.mark.parametrize("shapes", [((3, 2), (), (4,)), ((2, 3), ()), ((2, 3), (), (4,), ()), ()])
def test_another_network(tmp_path, shapes):
    save_checkpoint(tmp_path, 1, variables(1))
    other = variables(7, shapes)
    with pytest.raises(ValueError, match=r"step-000000001.npz belongs to another network or optimizer"):
        restore_checkpoint(tmp_path, other)
    for a, b in zip(other, variables(7, shapes), strict=True):
        same(array(a), array(b))


def test_a_save_that_dies_leaves_the_one_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, variables(1), keep=1)

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", dies)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 2, variables(2), keep=1)
    monkeypatch.undo()
    assert names(tmp_path) == ["step-000000001.npz"]
    assert restore_checkpoint(tmp_path, variables())["step"] == 1


@pytest.mark.parametrize("rehashed", [False, True])
@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz(tmp_path, rehashed, count):
    """A damaged checkpoint is passed over, or belongs to another network; variables hold all of it or nothing."""
    path = save_checkpoint(tmp_path, 1, variables(5))

    def read(data):
        path.write_bytes(data + hashlib.sha256(data).digest() if rehashed else data)
        twin = variables()
        if restore_checkpoint(tmp_path, twin) is None:
            assert all(np.array_equal(array(a), array(b)) for a, b in zip(twin, variables(), strict=True))
            raise ValueError(f"{path} is passed over")

    whole = path.read_bytes()
    fuzz(read, [whole[:-32] if rehashed else whole], count, names=path.name, untouched=True)
