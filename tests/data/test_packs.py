import numpy as np
import pytest

from ds_keras.data import batches, bridged_pack, jpeg_pack, load, lossless_pack
from ds_keras.data.decode import decode_image
from ds_keras.data.readers import packs


@pytest.fixture
def pack(tmp_path, save, rng):
    """pack(sizes, test="val", **changes) -> path of a pack, and its files."""

    def write(sizes, test="test", **changes):
        arrays, kept = {"classes": np.array(["cat", "dog"])}, {}
        for split in ("train", test):
            files = []
            for i, size in enumerate(sizes):
                pixels = np.kron(rng.integers(0, 256, (2, 2, 3)), np.ones([size // 2, size // 2, 1]))
                files.append(save(f"{split}{i}.jpg", pixels[..., 0] if i == 1 else pixels).read_bytes())
            arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(files), "uint8")
            arrays[f"{split}_off"] = np.cumsum([0, *map(len, files)])
            arrays[f"{split}_y"] = np.arange(len(files), dtype="uint16") % 2
            kept[split] = files
        path = tmp_path / "pets.npz"
        np.savez(path, **{**arrays, **changes})
        return path, kept

    return write


def test_one_size_is_decoded(pack):
    path, files = pack([8, 8, 8])
    train = jpeg_pack(path)["train"]
    assert train.in_memory and train.image_shape == (8, 8, 3) and train.class_names == ["cat", "dog"]
    np.testing.assert_array_equal(train.images(), [decode_image(file) for file in files["train"]])
    np.testing.assert_array_equal(train.labels, [0, 1, 0])


@pytest.mark.parametrize("sizes", [[8, 8, 8], [8, 12, 16]])
def test_encoded_bytes_are_decoded_on_the_fly(pack, sizes):
    path, files = pack(sizes, test="val")
    test = jpeg_pack(path, splits=("test",), decode_all=False)["test"]
    assert not test.in_memory and test.image_shape == ((8, 8, 3) if len(set(sizes)) == 1 else (None, None, 3))
    for i, file in enumerate(files["val"]):
        np.testing.assert_array_equal(test.load(np.int64(i)), decode_image(file))
    images, _ = next(batches(test, 5, 0, "rrc,flip", image_size=6).as_numpy_iterator())
    assert images.shape == (5, 6, 6, 3)


def test_a_third_part(pack):
    path, _ = pack([8, 8, 8])
    val = {name.replace("train", "val"): value for name, value in np.load(path).items() if "train" in name}
    three, _ = pack([8, 12], **val)
    sets = load(f"pack:{three}")
    assert {name: len(part) for name, part in sets.items()} == {"train": 2, "test": 2, "val": 3}
    assert set(jpeg_pack(three, splits=("val",))) == {"val"}


def test_large_sets_stay_encoded(pack, monkeypatch):
    path, _ = pack([8, 8, 8])
    monkeypatch.setattr(packs, "MAX_DECODED_BYTES", 8 * 8 * 3 * 3 - 1)
    assert not jpeg_pack(path)["train"].in_memory
    assert jpeg_pack(path, decode_all=True)["train"].in_memory


def test_errors(pack, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.npz is missing"):
        jpeg_pack(tmp_path / "none.npz")
    path, files = pack([8, 12])
    with pytest.raises(ValueError, match=r"decode_all=True needs images of one size"):
        jpeg_pack(path, decode_all=True)
    with pytest.raises(ValueError, match=r"no split 'extra'"):
        jpeg_pack(path, splits=("extra",))
    with pytest.raises(ValueError, match=r"is not a lossless pack: \['train_index', 'x', 'y'\] are missing"):
        lossless_pack(path)
    blob = np.frombuffer(files["train"][0], "uint8")
    with pytest.raises(ValueError, match=r"is truncated: train_jpeg has"):
        jpeg_pack(pack([8, 8], train_jpeg=blob)[0])
    with pytest.raises(ValueError, match=r"train_off must hold 3 rising offsets"):
        jpeg_pack(pack([8, 8], train_off=np.array([0, 100, 50]))[0])
    with pytest.raises(ValueError, match=r"pets/train, image 0: cannot decode"):
        jpeg_pack(pack([8, 8], train_off=np.array([0, 100, 200]))[0])
    good = path.read_bytes()
    for content in (b"junk", b"", good[: len(good) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a .npz file, or a damaged one"):
            jpeg_pack(path)
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"is not a .npz file, or a damaged one"):
        jpeg_pack(path)
    np.savez(path, x=np.array([{}], object))
    with pytest.raises(ValueError, match=r"is not a .npz file, or a damaged one"):
        jpeg_pack(path)


def test_lossless(tmp_path, rng):
    path = tmp_path / "lossless.npz"
    x = rng.integers(0, 256, (5, 4, 4, 3)).astype("uint8")
    np.savez(path, x=x, y=np.arange(5, dtype="uint8"), train_index=np.arange(5))
    bridge = lossless_pack(path)
    np.testing.assert_array_equal(bridge.source.images(), x)
    assert bridge.train_index.dtype == np.int32 and bridge.source.class_names[0] == "airplane"
    np.savez(path, x=x, y=np.arange(5), train_index=np.arange(4))
    with pytest.raises(ValueError, match=r"train_index must have the shape of y"):
        lossless_pack(path)


def test_the_real_packs(shared_data):
    test = jpeg_pack(shared_data / "imagenette2_128_jpeg.npz", splits=("test",), decode_all=False)["test"]
    assert len(test) == 3925 and test.image_shape == (128, 128, 3) and test.storage.plain.all()
    np.testing.assert_array_equal(test.load(np.int64(7)), test.storage.read(7))
    bridge = lossless_pack(shared_data / "cifar10_lossless_train4000.npz")
    assert len(bridge.source) == 4000 and bridge.source.image_shape == (32, 32, 3)


@pytest.fixture
def bridge(pack, tmp_path):
    """A pack of four training images, and the originals of two of them."""

    def write(labels=(0, 1), index=(2, 1)):
        originals = np.arange(2 * 8 * 8 * 3, dtype="uint8").reshape(2, 8, 8, 3)
        np.savez(tmp_path / "originals.npz", x=originals, y=np.array(labels, "uint8"), train_index=np.array(index))
        return pack([8, 8, 8, 8])[0], tmp_path / "originals.npz", originals

    return write


def test_originals_are_held_out_of_training(bridge):
    path, lossless, originals = bridge()
    sets = load(f"pack:{path}+{lossless}")
    assert sorted(sets) == ["lossless", "test", "train"]
    whole = jpeg_pack(path)
    np.testing.assert_array_equal(sets["train"].images(), whole["train"].images()[[0, 3]])
    np.testing.assert_array_equal(sets["train"].labels, [0, 1])
    np.testing.assert_array_equal(sets["test"].images(), whole["test"].images())
    np.testing.assert_array_equal(sets["lossless"].images(), originals)
    assert sets["lossless"].class_names == ["cat", "dog"]
    assert sorted(load(f"pack:{path}")) == ["test", "train"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": (1, 1)}, "does not belong to .*labels of the same images differ"),
        ({"index": (1, 4)}, r"train_index must name images of .* in \[0, 4\)"),
        ({"index": (1, 1)}, "train_index must name images of .*each once"),
        ({"index": (-1, 1)}, "train_index must name images of"),
    ],
)
def test_originals_of_another_pack(bridge, changes, message):
    with pytest.raises(ValueError, match=message):
        bridged_pack(*bridge(**changes)[:2])
