"""``ds-keras classify``: photos in, a table out."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from programs import run_command as tool

from ds_keras import data, zoo
from ds_keras.runtime import Session

PRESET = ["classify", "--preset=ds_mobilenet_digits"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two digits, eight times as large, and one of them in colour."""
    folder = tmp_path_factory.mktemp("photos")
    for i, image in enumerate(data.digits()["test"].images()[:2]):
        large = np.kron(image[..., 0], np.ones((8, 8))).astype("uint8")
        Image.fromarray(large).convert("RGB" if i else "L").save(folder / f"{i}.png")
    return [str(folder / f"{i}.png") for i in range(2)]


def test_through_the_bundle(photos):
    result = tool(*PRESET, *photos, "--top=2", "--level=1")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"photo +class +% +level +MMAdds", lines[0]) and len(lines) == 5
    expected = Session(zoo.bundle("ds_mobilenet_digits")).classify(photos, 2, level=1)
    for photo, line, found in zip(photos, lines[1::2], expected, strict=True):
        assert line.split() == [photo, found.label, f"{100 * found.probability:.1f}", "1", f"{found.madds / 1e6:.2f}"]
    assert [line.split()[0] for line in lines[2::2]] == [found.labels[1] for found in expected]
    assert (
        tool("classify", f"--bundle={zoo.bundle('ds_mobilenet_digits')}", *photos, "--level=1", "--top=2").stdout
        == result.stdout
    )


def test_in_keras(photos):
    """As the bundle, whose weights are in half precision."""
    found = tool(*PRESET, "--keras", "--level=1", "--top=1", *photos).stdout.split()
    expected = tool(*PRESET, *photos, "--level=1", "--top=1").stdout.split()
    del found[7::5], expected[7::5]
    assert found == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (PRESET, "needs at least one photo; see --help"),
        (["classify", "a.jpg"], "give exactly one of --preset and --bundle"),
        (["classify", "a.jpg", "--bundle=b", "--keras"], "--keras needs --preset"),
        ([*PRESET, "absent.jpg"], "photo must be an image file or a folder of them, 'absent.jpg' is missing"),
        ([*PRESET, os.path.dirname(__file__)], "photo must be a folder of image files, found none in"),
        ([*PRESET, "PHOTO", "--top=0"], "top"),
        ([*PRESET, "PHOTO", "--level=9"], "level must be an integer in [0, 4), received 9"),
        (
            [*PRESET, "PHOTO", "--budget=30"],
            "--budget must be at most 1, which is the cost of the largest level, received 30",
        ),
        ([*PRESET, "PHOTO", "--budget=0.5", "--level=0"], "--budget does not go with --level, received 0.5 and 0"),
        (["classify", "--bundle=absent", "PHOTO"], "'absent' does not exist"),
        ([*PRESET, __file__], "cannot decode the image"),
    ],
)
def test_bad_calls(photos, arguments, message):
    result = tool(*[photos[0] if word == "PHOTO" else word for word in arguments])
    assert result.returncode == 2 and result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ") and message in last and "Traceback" not in result.stderr


def test_a_folder_and_a_file(photos, tmp_path):
    (tmp_path / "a" / "deep").mkdir(parents=True), (tmp_path / ".hidden").mkdir()
    for name in ("a/deep/1.png", "0.PNG", ".hidden/2.png", "notes.txt"):
        shutil.copy(photos[0], tmp_path / name)
    result = tool(*PRESET, str(tmp_path), photos[1], "--top=1")
    assert result.returncode == 0, result.stderr
    expected = [str(tmp_path / "0.PNG"), str(tmp_path / "a/deep/1.png"), photos[1]]
    assert [line.split("  ")[0] for line in result.stdout.splitlines()[1:]] == expected


def test_a_home_directory_in_a_flag(photos, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.dsbundle").symlink_to(Path(zoo.bundle("ds_mobilenet_digits")).resolve())
    result = tool("classify", "--bundle=~/a.dsbundle", photos[0], "--top=1")
    assert result.returncode == 0, result.stderr


def test_names_that_are_no_text_and_folders_of_the_system(photos, tmp_path):
    names = ["a\x1b[31m.png", "b\nc.png", "@eaDir/thumbnail.png", ".hidden.png"]
    (tmp_path / "@eaDir").mkdir()
    for name in names:
        shutil.copy(photos[0], tmp_path / name)
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink(".", tmp_path / "round")
    result = tool(*PRESET, tmp_path, "--top=1")
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [
        f"{tmp_path}/a\\x1b[31m.png",
        f"{tmp_path}/b\\nc.png",
    ]


def test_folders_nested_without_end(photos, tmp_path):
    (tmp_path / "/".join("d" * 70)).mkdir(parents=True)
    result = tool(*PRESET, tmp_path)
    assert result.returncode == 2 and result.stderr.startswith("error: folders nested deeper than 64: ")
    with pytest.raises(ValueError, match="holds folders nested deeper than 64"):
        (tmp_path / "e").mkdir()
        data.image_folder(tmp_path)
