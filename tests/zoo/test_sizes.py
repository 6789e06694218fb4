import numpy as np
import pytest
from helpers import budgeted_nano, close, images, nano_v2, nano_vit

from ds_keras import zoo
from ds_keras.core.visitor import Compute


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A preset that is only read."""
    return zoo.save(nano_v2(), tmp_path_factory.mktemp("sizes"))


@pytest.fixture
def notes(caplog):
    """What a user sees who sets nothing: warnings, and nothing below."""
    with caplog.at_level("WARNING", "absl"):
        yield caplog


def test_a_preset_at_another_size(tmp_path, notes):
    model = budgeted_nano(images(24), 5)
    zoo.save(model, tmp_path)
    twin, x = zoo.load(tmp_path, image_size=14), images(3, 14)
    assert twin.image_shape == (14, 14, 1)
    assert twin.costs != model.costs
    assert twin.budget_table == {} and twin.default_policy == model.default_policy
    for level in range(3):
        close(twin(x, level=level), model.logits(Compute(level), x))
    (note,) = notes.messages
    assert "was measured at 8x8" in note and "measure it at 14x14 before you rely on" in note


def test_its_own_size_changes_nothing(saved, notes):
    assert zoo.load(saved, image_size=(8, 8)).image_shape == (8, 8, 1)
    assert not notes.messages


def test_with_new_classes(saved):
    model = zoo.load(saved, num_classes=5, image_size=(9, 12))
    assert model(np.zeros((1, 9, 12, 1), "uint8"), level=0).shape == (1, 5)


@pytest.mark.parametrize(("size", "message"), [(5, "at least 6"), ("8", "integer or"), ((8,), "integer or")])
def test_bad_sizes(saved, size, message):
    with pytest.raises(ValueError, match=f"image_size must be .*{message}"):
        zoo.load(saved, image_size=size)


def test_a_vit_refuses(tmp_path):
    zoo.save(nano_vit(name="my_vit"), tmp_path)
    with pytest.raises(ValueError, match="image_size must be left out for my_vit: a DSViT runs at 8x8 only"):
        zoo.load(tmp_path, image_size=16)
