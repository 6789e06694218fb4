"""What a user installs: the wheel, alone, in a directory of its own."""

import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from helpers import close
from PIL import Image
from programs import run_program

import ds_keras
from ds_keras import moved

ROOT = Path(__file__).parents[1]
README_BEFORE_ROOMS = [
    "zoo.load",
    "zoo.list_models",
    "zoo.card",
    "zoo.bundle",
    "cost.madds",
    "cost.params",
    "curves",
    "evaluation.compare",
    "report.write_report",
    "data.digits",
    "data.batches",
    "data.evaluation_batches",
    "data.load",
    "convert",
    "convert_keras.from_keras_resnet50",
    "models.DSMobileNet",
    "models.DSResNet",
    "models.DSViT",
    "models.LCResNet",
    "models.stage.Stage",
    "models.supernet.Supernet",
    "training.SupernetTrainer",
    "training.GateTrainer",
    "training.LCTrainer",
    "training.calibrate_batch_norm",
    "training.fine_tune",
    "training.Experiment",
    "budget.measure_budget",
    "budget.choose_policy",
    "runtime.Session",
    "runtime.benchmark.routed",
    "export.to_tflite",
    "export.to_bundle",
    "export.to_onnx",
    "export.subnet",
    "export.compress",
]
SUBMODULES = sorted(set(ds_keras.__all__) - {"__version__"})
NEEDS_KERAS = ["convert", "cost", "evaluation", "export", "layers", "models", "quantization", "report", "routing"]
NEEDS_KERAS += ["training"]
ANEW = """
import sys
for name in [name for name in sys.modules if name.split(".")[0] == "ds_keras"]:
    del sys.modules[name]  # ``run_program`` has imported it from the checkout
"""


def run(*command, **kwargs):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **kwargs)
    assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def python(code, cwd, **env):
    """Runs ``code`` with nothing of the checkout on the path but what ``env`` adds."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "KERAS_BACKEND")}
    return run(sys.executable, "-P", "-c", code, cwd=cwd, env={**clean, **env})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of the files that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout")
    source = tmp_path_factory.mktemp("source")
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", source / "dist", cwd=source)
    (path,) = (source / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed") / "site"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    return target


def test_what_the_wheel_holds(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name == f"ds_keras-{ds_keras.__version__}-py3-none-any.whl"
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ds_keras").rglob("*.py")}
    tracked = set(run("git", "ls-files", "ds_keras", "zoo", cwd=ROOT).split("\n"))
    assert modules & tracked <= names and "ds_keras/py.typed" in names
    for preset in ds_keras.zoo.list_models():
        for file in ("config.json", "model.weights.h5", "metrics.json", "README.md"):
            if f"zoo/{preset}/{file}" in tracked:
                assert f"ds_keras/zoo/presets/{preset}/{file}" in names
    assert {name.split("/")[0] for name in names} == {"ds_keras", f"ds_keras-{ds_keras.__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_elsewhere(installed, tmp_path):
    """The digits preset from the installed package alone: golden logits."""
    golden = json.loads((ROOT / "tests/zoo/golden_digits.json").read_text())
    (tmp_path / "program.py").write_text(f"""
{ANEW}
import json, importlib.metadata
sys.path.insert(0, sys.argv[1])
import numpy as np
import ds_keras
model = ds_keras.zoo.load("ds_mobilenet_digits")
x = np.array(json.load(open("golden.json"))["images"], "float32")
logits = [np.asarray(model(x, level=k)).tolist() for k in range(len(model.levels))]
print(json.dumps({{
    "file": ds_keras.__file__, "presets": str(ds_keras.zoo.presets()), "names": ds_keras.zoo.list_models(),
    "version": importlib.metadata.version("ds_keras"), "logits": logits,
    "modules": [getattr(m, "__file__", None) or "" for n, m in sys.modules.items() if n.split(".")[0] == "ds_keras"],
}}))
""")
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    result = run_program(tmp_path / "program.py", str(installed), cwd=tmp_path, env=os.environ)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert all(Path(file).is_relative_to(installed) for file in [found["file"], *found["modules"]])
    assert Path(found["presets"]) == installed / "ds_keras/zoo/presets"
    assert "ds_mobilenet_digits" in found["names"]
    assert found["version"] == ds_keras.__version__
    close(found["logits"], golden["levels"], tolerance=1e-3)


def test_the_command_of_the_wheel(installed, tmp_path):
    """The console script, which pip writes from the wheel's entry points, and the module: they need no checkout."""
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env = {**clean, "PYTHONPATH": str(installed)}
    listed = run(sys.executable, installed / "bin/ds-keras", "list", cwd=tmp_path, env=env)
    assert all(name in listed for name in ds_keras.zoo.list_models())
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("needs LiteRT: pip install ds_keras[runtime]")
    Image.fromarray(np.tile(np.arange(0, 250, 10, "uint8"), (40, 1))).save(tmp_path / "photo.png")
    command = ["-X", "importtime", "-m", "ds_keras", "classify", "--preset=ds_mobilenet_digits", "photo.png", "--top=2"]
    result = subprocess.run([sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert [line.split()[0] for line in result.stdout.splitlines()][:2] == ["photo", "photo.png"]
    imported = {line.split("|")[-1].strip() for line in result.stderr.splitlines() if line.startswith("import time:")}
    assert "numpy" in imported and not imported & {"tensorflow", "keras"}


def test_version():
    assert version("ds_keras") == ds_keras.__version__


def test_importing_the_package_is_light(tmp_path):
    code = """
import sys
import ds_keras, ds_keras.data, ds_keras.zoo, ds_keras.core.files
assert ds_keras.zoo.list_models() and ds_keras.zoo.card("ds_mobilenet_digits")["levels"] and dir(ds_keras)
heavy = {"tensorflow", "keras", "torch", "jax", "ai_edge_litert", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    python(code, tmp_path)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match=r"module 'ds_keras' has no attribute 'modles'; it has .*models"):
        _ = ds_keras.modles


def test_another_backend_of_keras(tmp_path):
    """Keras is told that it runs on JAX, which need not be installed: each module says what to do."""
    (tmp_path / "program.py").write_text(f"""
{ANEW}
import importlib, keras
keras.backend.backend = lambda: "jax"
import ds_keras
for name in sys.argv[1].split(","):
    try:
        importlib.import_module("ds_keras." + name)
    except ImportError as error:
        print(name, "|", error)
""")
    result = run_program(tmp_path / "program.py", ",".join(NEEDS_KERAS), cwd=tmp_path, env=os.environ)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(" | ")[0] for line in lines] == NEEDS_KERAS
    for line in lines:
        assert "ds_keras needs the TensorFlow backend of Keras, but the backend is 'jax'" in line
        assert "KERAS_BACKEND=tensorflow" in line


@pytest.mark.slow
def test_the_torch_backend_of_keras(tmp_path):
    """As above, with PyTorch itself, whose import takes longest."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch: pip install ds_keras[convert]")
    code = """
import ds_keras
try:
    ds_keras.zoo.load("ds_mobilenet_digits")
except ImportError as error:
    print(error)
"""
    assert "the backend is 'torch'. Set KERAS_BACKEND=tensorflow" in python(code, tmp_path, KERAS_BACKEND="torch")


@pytest.mark.parametrize("name", SUBMODULES)
def test_public_names_have_docstrings(name):
    module = importlib.import_module(f"ds_keras.{name}")
    assert module.__doc__
    if hasattr(module, "__all__"):
        assert sorted(module.__all__) == sorted(set(module.__all__)) and module.__all__
    for public in getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")]):
        thing = getattr(module, public)
        if getattr(thing, "__module__", "").startswith("ds_keras") and callable(thing):
            assert inspect.getdoc(thing) and thing.__doc__, f"{name}.{public}"
            for method, function in vars(thing).items() if inspect.isclass(thing) else ():
                if inspect.isfunction(function) and not method.startswith("_"):
                    assert inspect.getdoc(getattr(thing, method)), f"{name}.{public}.{method}"


def test_every_room_is_listed():
    rooms = {path.parent.name for path in (ROOT / "ds_keras").glob("*/__init__.py")}
    assert set(SUBMODULES) == rooms | {"cost"}


@pytest.mark.filterwarnings("ignore:ds_keras:DeprecationWarning")
def test_old_names_still_import():
    for old, new in moved.MODULES.items():
        importlib.import_module(f"ds_keras.{old}")
        importlib.import_module(f"ds_keras.{new}")
    for name, new in {**moved.NAMES, **moved.HOMES}.items():
        (room, _, old), (home, _, leaf) = name.rpartition("."), new.rpartition(".")
        if room:
            found = getattr(importlib.import_module(f"ds_keras.{room}"), old)
            assert found is getattr(importlib.import_module(f"ds_keras.{home}"), leaf)
    for name, leaf in moved.RENAMED.items():
        home, _, old = name.rpartition(".")
        (module,) = (module for module, new in moved.MODULES.items() if new == home)
        found = getattr(importlib.import_module(f"ds_keras.{module}"), old)
        assert found is getattr(importlib.import_module(f"ds_keras.{home}"), leaf)


@pytest.mark.filterwarnings("ignore:ds_keras:DeprecationWarning")
@pytest.mark.parametrize("name", README_BEFORE_ROOMS)
def test_names_of_the_readme_before_still_import(name):
    thing, path = ds_keras, "ds_keras"
    for part in name.split("."):
        path = f"{path}.{part}"
        thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(path)


def test_an_old_name_says_the_new_one():
    with pytest.warns(DeprecationWarning, match=r"ds_keras\.slicing is ds_keras\.core\.levels now"):
        sys.modules.pop("ds_keras.slicing", None)
        from ds_keras.slicing import SliceLevel
    assert SliceLevel is importlib.import_module("ds_keras.core.levels").SliceLevel
    with pytest.warns(DeprecationWarning, match=r"ds_keras\.training\.Experiment is ds_keras\.experiments\.Experiment"):
        from ds_keras.training import Experiment
    assert Experiment is importlib.import_module("ds_keras.experiments").Experiment


def test_who_uses_an_old_name_is_warned():
    """The warning names the user's line: Python hides those that name a package's own."""
    for name in ("ds_keras.curves", "ds_keras.files"):
        sys.modules.pop(name, None)
    vars(ds_keras).pop("curves", None)
    with pytest.warns(DeprecationWarning) as found:
        assert ds_keras.curves.score and ds_keras.policies.NO_TABLE
        from ds_keras.files import sweep

        from ds_keras.policies import NO_PASSES
    assert sweep and NO_PASSES
    assert {warning.filename for warning in found} == {__file__}
    assert len({str(warning.message) for warning in found}) == 4


def test_old_names_of_attributes_and_arguments():
    class Box:
        settings = "first"
        knobs = moved.alias("Box.knobs", "settings")

    @moved.renamed(knobs="settings")
    def run(model, settings=None):
        return model, settings

    box = Box()
    with pytest.warns(DeprecationWarning, match=r"Box\.knobs is settings now"):
        assert box.knobs is box.settings
    with pytest.warns(DeprecationWarning, match=r"Box\.knobs is settings now"):
        box.knobs = "second"
    assert box.settings == "second"
    with pytest.warns(DeprecationWarning, match=r"the argument knobs of run\(\) is settings now"):
        assert run(1, knobs=2) == (1, 2)
    assert run(1, settings=2) == run(1, 2) == (1, 2)
