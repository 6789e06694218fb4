import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from ds_keras import data


def test_digits():
    sets = data.digits()
    train, test = sets["train"], sets["test"]
    assert (len(train), len(test), train.image_shape, train.name) == (1437, 360, (8, 8, 1), "digits/train")
    assert train.images().max() == 255 and set(np.unique(train.images())) <= {round(k * 255 / 16) for k in range(17)}
    assert np.bincount(test.labels).min() >= 34 and not set(train.indices) & set(test.indices)
    assert test.indices[:3].tolist() == data.digits()["test"].indices[:3].tolist()


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install ds_keras\[demo\]"):
        data.digits()


def test_keras_dataset(monkeypatch):
    raw = (np.zeros([4, 28, 28], "uint8"), np.arange(4)), (np.ones([2, 28, 28], "uint8"), np.arange(2)[:, None])
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: raw)
    sets = data.keras_dataset("mnist")
    assert sets["train"].image_shape == (28, 28, 1) and sets["test"].labels.tolist() == [0, 1]
    assert data.load("keras:mnist")["test"].name == "mnist/test"


def test_keras_dataset_errors(monkeypatch):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fail)
    with pytest.raises(ConnectionError, match=r"keras.datasets.cifar10 could not be fetched: URL fetch failure"):
        data.keras_dataset("cifar10")
    with pytest.raises(ValueError, match=r"name must be one of .*cifar100.*received 'cifar'"):
        data.keras_dataset("cifar")


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros([2, 8, 8], "uint8"), [0, 10], r"labels must be in \[0, 10\)"),
        (np.zeros([2, 8, 8], "uint8"), [0.0, 1.0], "labels must be integers"),
        (np.zeros([2, 8, 8], "uint8"), [0], "labels must be integers of shape"),
        (np.full([2, 8, 8], 300), [0, 1], "images must be uint8"),
        (np.zeros([2, 8], "uint8"), [0, 1], "images must be uint8 of shape"),
        (np.zeros([0, 8, 8], "uint8"), [], "labels must be integers|at least one image"),
    ],
)
def test_keras_data_that_are_no_images_and_classes(monkeypatch, images, labels, message):
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: ((images, labels), (images, labels)))
    with pytest.raises(ValueError, match=f"keras.datasets.mnist, train: .*{message}"):
        data.keras_dataset("mnist")


def test_tfds_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install tensorflow-datasets"):
        data.tfds("mnist")


def fake_tfds(splits, features):
    images = [tf.io.encode_png(np.full([6, 5, 1], k, "uint8")).numpy() for k in range(3)]

    def as_dataset(split, shuffle_files, decoders):
        assert split in splits and not shuffle_files and decoders == {"image": "skip"}
        return tf.data.Dataset.from_tensor_slices({"image": images, "label": np.arange(3)})

    info = types.SimpleNamespace(features=features, splits=dict.fromkeys(splits))
    builder = types.SimpleNamespace(info=info, download_and_prepare=lambda: None, as_dataset=as_dataset)
    decoding = types.SimpleNamespace(SkipDecoding=lambda: "skip")
    return types.SimpleNamespace(builder=lambda name, data_dir: builder, decode=decoding)


def test_tfds(monkeypatch):
    features = {
        "image": types.SimpleNamespace(shape=(None, None, 1)),
        "label": types.SimpleNamespace(names=["x", "y", "z"]),
    }
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake_tfds(("train", "validation"), features))
    sets = data.load("tfds:letters")
    assert sets["test"].name == "letters/test" and sets["train"].class_names == ["x", "y", "z"]
    assert sets["train"].load(np.int64(2)).numpy().tolist() == np.full([6, 5, 1], 2).tolist()
    for fake, message in (
        (fake_tfds(("train",), features), "must have the splits train and test"),
        (fake_tfds(("train", "test"), {"image": features["image"]}), "must have the features image and label"),
        (
            fake_tfds(("train", "test"), {**features, "image": None}),
            "must have images .height, width, channels., it has",
        ),
        (
            fake_tfds(("train", "test"), {**features, "label": types.SimpleNamespace(names=["x"])}),
            r"tfds 'letters', train: labels must be in \[0, 1\)",
        ),
    ):
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
        with pytest.raises(ValueError, match=message):
            data.tfds("letters")


@pytest.mark.parametrize("spec", ["", "cifar", "pack", "folder:", "digits:x", "ftp:/x", None])
def test_unknown_spec(spec):
    with pytest.raises(ValueError, match=r"data must be one of digits, fashion_mnist:DIRECTORY.*received"):
        data.load(spec)


def test_the_package_lists_its_names():
    assert set(data.__all__) <= set(dir(data))
    for name in data.__all__:
        assert callable(getattr(data, name)), name
    with pytest.raises(AttributeError, match=r"'nothing'; it has .*batches"):
        data.nothing  # noqa: B018


def test_a_path_without_a_form_gets_a_suggestion(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for spec in (str(tmp_path), tmp_path):
        with pytest.raises(ValueError, match=f"received '{tmp_path}': did you mean 'folder:{tmp_path}'?"):
            data.load(spec)
    with pytest.raises(ValueError, match="did you mean 'pack:~/a.npz'?"):
        data.load("~/a.npz")
    for spec in ("folder:~/absent", "fashion_mnist:~/absent", "pack:~/absent/a.npz", "tfrecord:~/absent"):
        with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path / "absent")):
            data.load(spec)
