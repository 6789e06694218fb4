"""The Python of the tutorials, guides and notebooks runs as it is printed, with shorter trainings."""

import pytest
from helpers import nano_resnet
from pages import ROOT, blocks, cells, run

from ds_keras import zoo
from ds_keras.policies import registry

SLOW = pytest.mark.slow
OWN_PHOTOS = [
    ("ds_mobilenet_mini_imagenet", "small"),  # tracing the shipped one takes a minute
    ("minutes=15", "minutes=0.01"),  # the head alone
]
SHORT = {  # page: what is shorter in the test
    "tutorials/first_model.md": [("epochs=30", "epochs=1"), ("epochs=10", "epochs=1"), ("take(17)", "take(4)")],
    "tutorials/own_photos.md": OWN_PHOTOS,
    "notebooks/own_photos.ipynb": OWN_PHOTOS,
    "tutorials/budgets.md": [],
    "tutorials/int8.md": [("steps_per_epoch=22, epochs=10", "steps_per_epoch=2, epochs=1"), ("take(17)", "take(2)")],
    "tutorials/android.md": [],
    "notebooks/first_steps.ipynb": [],
    "guides/backbone.md": [("epochs=10", "epochs=1")],
    "guides/data_reader.md": [],
    "guides/detection.md": [],
    "guides/exporter.md": [],
    "guides/lcnet.md": [("(None, 20), (0.5, 30)", "(None, 1), (0.5, 1)")],
    "guides/policy.md": [],
}
LONG = (
    "tutorials/first_model.md",
    "tutorials/own_photos.md",
    "tutorials/budgets.md",
    "notebooks/first_steps.ipynb",
    "notebooks/own_photos.ipynb",
    "tutorials/int8.md",
    "tutorials/android.md",
    "guides/backbone.md",
    "guides/detection.md",
    "guides/lcnet.md",
)


def test_every_page_with_python_is_run():
    folders = (ROOT / "docs/tutorials", ROOT / "docs/guides", ROOT / "docs/notebooks")
    pages = [str(path.relative_to(ROOT / "docs")) for folder in folders for path in sorted(folder.iterdir())]
    assert {page for page in pages if blocks(f"docs/{page}")} == set(SHORT)


@pytest.mark.parametrize("page", [page for page in SHORT if page.endswith(".ipynb")])
def test_a_notebook_is_tidy(page):
    """No outputs, which grow stale; one cell installs, and only where the package is missing."""
    found = [cell for cell in cells(f"docs/{page}") if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in found)
    assert sum("%pip" in "".join(cell["source"]) for cell in found) == 1
    assert not any(line.startswith("!") or "http" in line for cell in found for line in cell["source"])  # no download


@pytest.mark.parametrize("page", [pytest.param(page, marks=SLOW if page in LONG else ()) for page in SHORT])
def test_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if SHORT[page] is OWN_PHOTOS:
        zoo.save(nano_resnet(input_shape=(32, 32, 3)), "small")
    known = registry.names()
    try:
        names = run(f"docs/{page}", SHORT[page])
        CHECKS.get(page, lambda names, path: None)(names, tmp_path)
    finally:  # a page may register a policy, which other tests of this process must not see
        for name in set(registry.names()) - set(known):
            registry.unregister(name)


def _first_model(names, path):
    assert names["stage1"].optimizer.iterations == 18 and names["stage2"].optimizer.iterations == 18
    assert names["model"].budget_table["levels"] and (path / "my_digits/config.json").is_file()


def _own_photos(names, path):
    assert names["model"].num_classes == 10 and zoo.bundle(path / "runs/photos/preset").is_file()
    assert zoo.load(path / "runs/photos/preset").labels == [f"digit {k}" for k in range(10)]


def _first_steps(names, path):
    assert names["routed"].levels.shape == (360,) and list(path.iterdir()) == []


def _android(names, path):
    made = {file.stem for file in path.glob("cache/*/*.tflite")}
    assert "entry_0" in made and made <= {"route", *(f"{kind}_{k}" for kind in ("entry", "body") for k in range(4))}
    assert {file.name for file in path.glob("tflite/*")} == {"level_0.tflite", "level_3.tflite"}


def _lcnet(names, path):
    assert names["trainer"].optimizer.iterations == 18
    assert names["executed"].scales.shape == (280, len(names["model"].units))
    assert (path / "tflite/dynamic.tflite").is_file()


CHECKS = {
    "tutorials/first_model.md": _first_model,
    "tutorials/own_photos.md": _own_photos,
    "notebooks/first_steps.ipynb": _first_steps,
    "notebooks/own_photos.ipynb": _own_photos,
    "tutorials/android.md": _android,
    "guides/lcnet.md": _lcnet,
}
