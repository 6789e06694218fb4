"""The Python of the tutorials and guides runs as it is printed, with shorter trainings."""

import pytest
from helpers import nano_resnet
from pages import ROOT, run

from ds_keras import zoo

SHORT = {  # page: what is shorter in the test
    "first_model.md": [("epochs=30", "epochs=1"), ("epochs=10", "epochs=1"), ("take(17)", "take(4)")],
    "own_photos.md": [
        ("ds_resnet_cifar10", "small"),  # tracing the shipped one takes a minute
        ("len(train) // 64", "3"),
        ("epochs=10", "epochs=1"),
        ("take(20)", "take(2)"),
    ],
    "budgets.md": [],
    "int8.md": [("steps_per_epoch=22, epochs=10", "steps_per_epoch=2, epochs=1"), ("take(17)", "take(2)")],
    "android.md": [],
}


def test_every_tutorial_is_run():
    assert {path.name for path in (ROOT / "docs/tutorials").glob("*.md")} == set(SHORT)


@pytest.mark.parametrize("page", SHORT)
def test_a_tutorial_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if page == "own_photos.md":
        zoo.save(nano_resnet(input_shape=(32, 32, 3)), "small")
    names = run(f"docs/tutorials/{page}", SHORT[page])
    assert names
