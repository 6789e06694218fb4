import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ds_keras.data.decode import decode, decode_image, decode_plain
from ds_keras.photos.decode import Pixels


def test_plain_formats(save, rng):
    pixels = rng.integers(0, 256, (5, 7, 3))
    for suffix in ("png", "bmp", "tiff", "webp"):
        path = save(f"a.{suffix}", pixels, **({"lossless": True} if suffix == "webp" else {}))
        np.testing.assert_array_equal(decode_image(path), pixels)
        np.testing.assert_array_equal(decode_image(path.read_bytes()), pixels)


def test_grey_and_one_bit(save):
    ramp = np.arange(0, 256, 5).reshape(4, 13)
    path = save("grey.png", ramp)
    np.testing.assert_array_equal(decode_image(path), np.repeat(ramp[..., None], 3, -1))
    np.testing.assert_array_equal(decode_image(path, channels=1), ramp[..., None])
    bits = save("bits.png", Image.fromarray(np.eye(4) > 0))
    np.testing.assert_array_equal(decode_image(bits)[..., 0], 255 * np.eye(4))


def test_16_bit_grey_is_scaled(save):
    wide = np.array([[0, 128, 257, 32768, 65535]], "uint16")
    for suffix in ("png", "tiff"):
        path = save(f"wide.{suffix}", Image.fromarray(wide))
        np.testing.assert_array_equal(decode_image(path)[0, :, 0], [0, 0, 1, 128, 255])
    np.testing.assert_array_equal(decode_image(tf.io.encode_png(wide[..., None]).numpy())[0, :, 1], [0, 0, 1, 128, 255])


def test_16_bit_rgb():
    wide = np.array([[[0, 32896, 65535]]], "uint16")
    np.testing.assert_array_equal(decode_image(tf.io.encode_png(wide).numpy()), [[[0, 128, 255]]])


def test_palette(save, rng):
    index = Image.fromarray(np.array([[0, 1, 2]], "uint8")).convert("P")
    index.putdata([0, 1, 2])
    index.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
    colours = np.array([[[10, 20, 30], [200, 0, 0], [0, 0, 255]]])
    np.testing.assert_array_equal(decode_image(save("opaque.png", index)), colours)
    through = colours.copy()
    through[0, 0] = 255
    np.testing.assert_array_equal(decode_image(save("one.png", index, transparency=0)), through)
    np.testing.assert_array_equal(decode_image(save("one.gif", index, transparency=0)), through)
    half = decode_image(save("table.png", index, transparency=bytes([0, 255, 127])))
    np.testing.assert_array_equal(half[0, :2], through[0, :2])
    assert np.abs(half[0, 2].astype(int) - [128, 128, 255]).max() <= 1


def test_transparency_shows_white(save):
    rgba = np.array([[[1, 2, 3, 255], [1, 2, 3, 0]]])
    np.testing.assert_array_equal(decode_image(save("rgba.png", rgba)), [[[1, 2, 3], [255, 255, 255]]])
    image = Image.new("LA", (2, 1))
    image.putdata([(9, 255), (9, 0)])
    grey = save("la.png", image)
    np.testing.assert_array_equal(decode_image(grey)[0, :, 0], [9, 255])
    keyed = save("key.png", np.array([[[1, 2, 3], [4, 5, 6]]]), transparency=(4, 5, 6))
    np.testing.assert_array_equal(decode_image(keyed), [[[1, 2, 3], [255, 255, 255]]])


def test_cmyk(save):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = decode(save("cmyk.jpg", image, quality=100))
    assert np.abs(red.image.astype(int) - [255, 0, 0]).max() < 6 and not red.plain


UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(save, orientation):
    pixels = np.zeros([16, 32, 3], "uint8")
    pixels[:8, :16] = 255  # top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, plain = decode(save("turned.jpg", pixels, quality=100, exif=exif))
    assert plain == (orientation == 1)
    np.testing.assert_allclose(image.astype(int), UPRIGHT[orientation](pixels), atol=12)


def test_first_frame(save):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "tiff"):
        path = save(f"frames.{suffix}", frames[0], save_all=True, append_images=frames[1:])
        assert np.abs(decode_image(path).astype(int) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
@pytest.mark.parametrize("grey", [False, True])
def test_tensorflow_decodes_plain_jpeg_alike(save, rng, options, grey):
    pixels = np.kron(rng.integers(0, 256, (9, 7, 3)), np.ones([5, 5, 1]))
    path = save("plain.jpg", Image.fromarray(pixels.astype("uint8")).convert("L" if grey else "RGB"), **options)
    image, plain = decode(path)
    assert plain
    np.testing.assert_array_equal(decode_plain(path.read_bytes()), image)


def test_errors(save, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        decode_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"cannot decode the image of 4 bytes"):
        decode_image(b"abcd")
    path = save("cut.jpg", np.random.RandomState(0).randint(0, 256, (64, 64, 3)))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"cannot decode the image .*cut.jpg: OSError"):
        decode_image(path)
    with pytest.raises(ValueError, match=r"no fixed range"):
        decode_image(save("float.tiff", Image.fromarray(np.zeros([4, 4], "float32"))))
    with pytest.raises(ValueError, match=r"channels must be 1 or 3"):
        decode_image(path, channels=4)
    bomb = save("bomb.png", np.zeros([20, 20, 3]))
    for limit in (150, 300):  # Pillow's error, and its warning
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match=r"bomb.png: DecompressionBomb"):
            decode_image(bomb)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_too_large_where_pillow_only_warns(save, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    with pytest.raises(ValueError, match=r"20x20 pixels, at most 300 are allowed"):
        decode_image(save("bomb.png", np.zeros([20, 20, 3])))


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="pipe.jpg: ValueError: it is not a regular file"):
        decode_image(tmp_path / "pipe.jpg")


def test_no_program_is_run_for_a_format(save):
    path = save("page.eps", np.zeros([4, 4, 3]))
    with pytest.raises(ValueError, match="cannot decode the image .*page.eps: UnidentifiedImageError"):
        decode_image(path)


def test_a_long_tail_is_not_read(save, monkeypatch):
    path = save("a.jpg", np.zeros([4, 4, 3]))
    os.truncate(path, 5 * 2**30)  # a sparse file
    with pytest.raises(ValueError, match="a.jpg: ValueError: a JPEG file of more than 134217728 bytes"):
        decode_image(path)


def test_few_pixels_are_in_flight():
    pixels = Pixels(10)

    def work(count):
        with pixels.take(count):
            time.sleep(0.001)
            return pixels.in_flight

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, [4, 5, 20, 1, 6, 3] * 4))
    assert max(found) <= 20 and not pixels.in_flight
    assert all(number == 20 for number in found if number > 10)
