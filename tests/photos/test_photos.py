"""Photos as images of a network: of any kind, scaled as evaluation scales; and what is said of them."""

import sys

import numpy as np
import pytest
from PIL import Image

from ds_keras.data import resize_and_crop as evaluated
from ds_keras.photos import Classification, Preprocessing, check_values, classify, load_photo
from ds_keras.photos.preprocessing import resize_and_crop

WHOLE = Preprocessing()


@pytest.fixture(scope="module")
def photo():
    """(40, 60, 3) uint8, smooth in part and noisy in part."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 60)[None, :, None] * np.array([1, 0.5, 0.2])
    return np.clip(ramp + rng.normal(0, 20, (40, 60, 3)), 0, 255).astype("uint8")


@pytest.mark.parametrize("fraction", [1.0, 0.875])
@pytest.mark.parametrize("size", [(8, 8), (24, 17), (64, 64), (40, 30), (40, 60)])
def test_scaled_as_evaluation_scales(photo, size, fraction):
    found = resize_and_crop(photo, size, Preprocessing(fraction))
    expected = evaluated(photo, size, fraction).numpy()
    assert found.dtype == np.uint8 and found.shape == (*size, 3)
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 0.01


def test_every_kind_of_photo(photo, tmp_path, monkeypatch):
    """The same picture in every form gives the same image."""
    expected, size = load_photo(photo, (16, 16, 3), WHOLE), (16, 16, 3)
    path = tmp_path / "a.png"
    Image.fromarray(photo).save(path)
    opaque = np.concatenate([photo, np.full((40, 60, 1), 255, "uint8")], -1)
    upright = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(np.rot90(photo)).save(upright, exif=exif)
    monkeypatch.setenv("HOME", str(tmp_path))
    kinds = [path, str(path), "~/a.png", path.read_bytes(), Image.open(path), upright, opaque, photo * np.uint16(257)]
    for kind in [*kinds, photo.astype("float64"), photo.astype(int), Image.fromarray(opaque)]:
        np.testing.assert_array_equal(load_photo(kind, size, WHOLE), expected)


def test_channels(photo):
    grey = np.asarray(Image.fromarray(photo).convert("L"))
    for array in (photo, grey, grey[..., None], np.stack([grey, np.full_like(grey, 255)], -1), grey.astype("float32")):
        np.testing.assert_array_equal(load_photo(array, (40, 60, 1), WHOLE), grey[..., None])
    np.testing.assert_array_equal(load_photo(grey, (40, 60, 3), WHOLE), np.repeat(grey[..., None], 3, -1))
    clear = np.zeros((4, 4, 4), "uint8")
    assert (load_photo(clear, (4, 4, 3), WHOLE) == 255).all()


def test_an_image_of_the_size_stays_as_it_is(photo):
    exact = photo / 2
    np.testing.assert_array_equal(load_photo(exact, (40, 60, 3), WHOLE), exact.astype("float32"))


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((2, 2, 5)), r"\(height, width, 1 to 4\), received float64 \(2, 2, 5\)"),
        (np.zeros(3), "received float64"),
        (np.array([["a"]]), "received <U1"),
        (np.full((2, 2), 300), r"in \[0, 255\], received values from 300"),
        (np.full((2, 2), -0.5), r"in \[0, 255\], received values from -0.5"),
        (np.full((2, 2), np.nan), "must be finite"),
        (b"nothing", "cannot decode the image of 7 bytes"),
    ],
)
def test_no_photo(photo, message):
    with pytest.raises(ValueError, match=message):
        load_photo(photo, (8, 8, 1), WHOLE)
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        load_photo("absent.jpg", (8, 8, 1), WHOLE)


def test_without_pillow(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert load_photo(photo, (40, 60, 3), WHOLE) is not None
    for needed in (photo, "a.jpg"):
        with pytest.raises(ImportError, match="pip install pillow"):
            load_photo(needed, (8, 8, 3), WHOLE)


def test_classes():
    def run(images):
        assert images.shape == (2, 8, 8, 1)
        return np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 3.0]], "float32"), [1, 0], [2e6, 1e6]

    given = [np.zeros((9, 9), "uint8"), np.zeros((20, 8), "uint8")]
    first, second = classify(given, run, (8, 8, 1), WHOLE, ["a", "b", "c"], 2)
    assert first.labels == ("b", "c") and first.label == "b" and (first.level, first.madds) == (1, 2e6)
    assert first.probability == pytest.approx(np.exp(2) / (1 + np.e + np.exp(2)))
    assert str(first) == "b 66.5 %, c 24.5 %  (level 1, 2.00 MMAdds)"
    assert second.labels == ("a", "c")
    assert [len(x.labels) for x in classify(given, run, (8, 8, 1), WHOLE, None, 9)] == [3, 3]
    assert classify([], run, (8, 8, 1), WHOLE, None, 1) == []
    assert str(Classification(("0",), (1.0,), None, 1e6)) == "0 100.0 %  (1.00 MMAdds)"
    for top in (0, 1.5, True):
        with pytest.raises(ValueError, match="top must be a positive integer"):
            classify(given, run, (8, 8, 1), WHOLE, None, top)


def test_values():
    for fine in (np.zeros((2, 2)), np.ones((2, 2), "uint8"), np.array([0.0, 1.5]), np.array([-0.5, 0.5]), np.zeros(0)):
        check_values(fine)
    with pytest.warns(UserWarning, match=r"lie in \[0, 1\], but .* \[0, 255\]: multiply by 255"):
        check_values(np.array([0.0, 0.5]))
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="images must be finite, received values from"):
            check_values(np.array([0.0, value, 7.0]))


def test_preprocessing():
    assert Preprocessing.from_json(None) == Preprocessing(1.0, "bilinear")
    other = Preprocessing(0.875, "bicubic")
    assert Preprocessing.from_json(other.to_json()) == other == Preprocessing.from_json(other)
    bad = [{"crop_fraction": 0}, {"crop_fraction": "1"}, {"interpolation": "x"}, {"size": 3}, 4]
    for value in bad:
        with pytest.raises(ValueError, match=r"must"):
            Preprocessing.from_json(value)
