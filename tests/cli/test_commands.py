"""The commands of ``ds-keras``: what they print, and what they refuse."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from helpers import pair
from PIL import Image
from programs import run_command as tool

from ds_keras import data, zoo
from ds_keras.cli.inputs import open_data
from ds_keras.cli.program import COMMANDS
from ds_keras.evaluation.tables import evaluate

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "zoo/ds_mobilenet_digits/model.dsbundle"
SAME_FLAGS = {
    "compress": ["--data=digits", "--output=out"],
    "evaluate": ["--data=digits"],
    "export": ["--output=out"],
    "report": ["--data=digits"],
}


def every_command(commands=COMMANDS, words=()):
    """(words, module) of every command."""
    for name, found in commands.items():
        if isinstance(found, dict):
            yield from every_command(found, (*words, name))
        else:
            yield (*words, name), importlib.import_module(f"ds_keras.cli.{found}")


@pytest.fixture(scope="module", autouse=True)
def digits_once():
    """The commands here read the digits preset and leave it as it is: one serves all."""
    load, known = zoo.load, {}

    def loaded(name, *args, **kwargs):
        if args or kwargs or name != "ds_mobilenet_digits":
            return load(name, *args, **kwargs)
        if name not in known:
            known[name] = load(name)
        return known[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", loaded)
        yield


EVERY = [pytest.param(words, module, id=" ".join(words)) for words, module in every_command()]


def refused(result, *parts):
    """Exit code 2, one clear line on stderr, no traceback, nothing on stdout."""
    assert result.returncode == 2, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ") and len(last) < 600
    assert all(part in last for part in parts), last
    assert "Traceback" not in result.stderr and result.stdout == ""


@pytest.mark.parametrize(("words", "module"), EVERY)
def test_help(words, module):
    """Purpose, example, every flag."""
    result = tool(*words, "--help")
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith(module.__doc__.splitlines()[0])
    assert f"\nExample:\n    ds-keras {' '.join(words)}" in result.stdout
    for name in module.FLAGS:
        assert re.search(rf"^  --(\[no\])?{name}\b", result.stdout, re.M), name


@pytest.mark.parametrize("words", [(), ("benchmark",)])
def test_help_of_a_group_lists_its_commands(words):
    result = tool(*words, "--help")
    commands = COMMANDS["benchmark"] if words else COMMANDS
    assert result.returncode == 0
    assert re.findall(r"^  (\w+) +\w", result.stdout, re.M) == list(commands)


@pytest.mark.parametrize("words", [(), ("evalute",), ("benchmark",), ("benchmark", "--bundle=a")])
def test_an_unknown_command(words):
    commands = COMMANDS["benchmark"] if words[:1] == ("benchmark",) else COMMANDS
    hint = "did you mean evaluate?" if "evalute" in words else "--help says what they do"
    refused(tool(*words), f"one of {', '.join(commands)}; received", hint)


@pytest.mark.parametrize(("words", "module"), EVERY)
def test_unknown_flags_and_arguments(words, module):
    refused(tool(*words, "--no_such_flag=1"), "no_such_flag")
    if module.FLAGS.positional_help:
        return
    refused(tool(*words, *(f"--{flag}=x" for flag in module.FLAGS.required), "stray"), "unexpected argument 'stray'")


@pytest.mark.parametrize(("words", "module"), [case for case in EVERY if case.values[1].FLAGS.required])
def test_missing_flags(words, module):
    refused(tool(*words), f"needs --{module.FLAGS.required[0]}")
    if module.FLAGS.positional_help is None:
        refused(tool(*words, "stray"), f"received 'stray': did you mean --{module.FLAGS.required[0]}=stray?")


def test_list():
    result = tool("list")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-2]] == zoo.list_models()
    assert all(name in lines[-1] for name in zoo.list_models("detection"))
    for name, line in zip(zoo.list_models(), lines[1:-2], strict=True):
        card = zoo.card(name)
        found = [float(x) for x in re.findall(r"\d+\.\d+", line)]
        assert found[:2] == [card["levels"][0]["top1"], card["levels"][-1]["top1"]]
        assert found[2:] == [card["policies"][0]["top1"], pytest.approx(100 * card["policies"][0]["share"], abs=0.051)]


def test_card(tmp_path):
    result = tool("card", "--preset=ds_resnet")
    assert result.returncode == 0
    assert result.stdout == (ROOT / "zoo/ds_resnet_imagenette/README.md").read_text()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/config.json").write_text((ROOT / "zoo/ds_resnet_cifar10/config.json").read_text())
    refused(tool("card", f"--preset={tmp_path / 'bare'}"), "README.md is missing", "has no card")


def test_flags_of_one_run_are_forgotten_by_the_next():
    refused(tool("evaluate", "--preset=ds_mobilenet_digits", "--data=digits", "--plot=a.png"), "--plot needs")
    refused(tool("evaluate", "--preset=ds_mobilenet_digits"), "needs --data")


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("train", ["--config=absent.py", "--workdir=out"], ["config must be a Python file", "missing: 'absent.py'"]),
        ("train", ["--config=.", "--workdir=out"], ["config must be a Python file", "'.'"]),
        ("ablate", ["--config=.", "--workdir=out", "--variant={}"], ["config must be a Python file", "'.'"]),
        (
            "ablate",
            [f"--config={ROOT}/zoo/ds_mobilenet_digits/experiment.py", "--workdir=out", "--variant=[1]"],
            ["variant must be a JSON object, received '[1]'"],
        ),
        ("train", ["--config=a", "--workdir=b", "--checkpoint_every=0"], ["checkpoint_every", "0"]),
        ("train", ["--workdir=b"], ["exactly one of --config and --start, received None and None"]),
        ("train", ["--config=a", "--start=b"], ["exactly one of --config and --start, received 'a' and 'b'"]),
        ("train", ["--config=a", "--minutes=5"], ["--minutes does not go with --config, received 5.0"]),
        ("train", ["--start=a", "--strategy=mirrored"], ["--strategy does not go with --start, received 'mirrored'"]),
        ("train", ["--config=a", "--workdir=b", "--strategy=multi_worker"], ["TF_CONFIG must be JSON such as"]),
        ("train", ["--start=a", "--dry_run"], ["--dry_run does not go with --start, received True"]),
        ("train", ["--start=a"], ["--start needs --data"]),
        ("train", ["--start=a", "--data=digits", "--minutes=-1"], ["--minutes must be positive, received -1.0"]),
        ("train", ["--start=a", "--data=digits"], ["unknown preset 'a'"]),
        ("train", ["--config=a", "--workdir=b", "--seed=x"], ["seed", "x"]),
        ("train", ["--config=a", "--workdir=b", "--seed=-1"], ["seed", "-1"]),
        ("train", ["--config=a", "--workdir=b", f"--seed={'9' * 5000}"], ["seed"]),
        (
            "train",
            ["--config=a", f"--workdir={__file__}/run"],
            ["--workdir must be a place to write to", "no directory"],
        ),
        ("export", ["--preset=a", "--output=a\0b"], ["--output must be a place to write to", "it is no path"]),
        ("report", ["--preset=a", "--data=digits", "--output=."], ["--output must be", "it is a directory"]),
        ("report", ["--preset=a", "--data=digits", f"--output={'x' * 300}"], ["--output must be", "255 bytes"]),
        (
            "evaluate",
            ["--preset=a", "--data=digits", "--json=/dev/null/a"],
            ["--json must be", "/dev/null is no directory"],
        ),
        ("benchmark supernet", ["--layout=tiny", "--levels=²"], ["--levels must be integers, received '²'"]),
        ("export", ["--preset=ds_mobilenet_digits", "--output=b", "--levels=²"], ["--levels must be 'all' or", "'²'"]),
        ("classify", ["--preset=ds_mobilenet_digits", "--level=-1", "a"], ["level", "-1"]),
        ("evaluate", [f"--preset={'a' * 300}", "--data=digits"], ["unknown preset 'aaa"]),
        ("evaluate", ["--preset=\x1b[31m", "--data=digits"], ["unknown preset '\\x1b[31m'"]),
        ("benchmark supernet", ["--preset=a", "--layout=tiny"], ["exactly one of --preset and --layout"]),
        ("benchmark supernet", ["--layout=tiny", "--what=slicing,x"], ["--what", "['x']"]),
        ("benchmark supernet", ["--layout=huge"], ["layout", "huge"]),
        ("benchmark supernet", ["--layout=tiny", f"--batch_size={10**30}"], ["batch_size", "1" + "0" * 30]),
        ("benchmark opening", [f"--bundle={DIGITS}", "--threads=9999"], ["--threads=9999"]),
        ("benchmark opening", [f"--bundle={DIGITS}", "--json=/dev/null/a"], ["--json must be a place to write to"]),
        ("benchmark bundle", [f"--bundle={DIGITS}", "--count=9999999"], ["--count must be at most 1048576 for noise"]),
        ("shards", ["--data=digits", "--directory=/dev/null/a"], ["--directory must be a place to write to"]),
        (
            "ablate",
            [f"--config={ROOT}/zoo/ds_mobilenet_digits/experiment.py", "--workdir=out", '--variant={"name": 5}'],
            ["variant must have a string as its name, received 5"],
        ),
        (
            "ablate",
            [f"--config={ROOT}/zoo/ds_mobilenet_digits/experiment.py", "--workdir=out", *["--variant={}"] * 2],
            ["variants must have different names, received ['as_is', 'as_is']"],
        ),
        (
            "evaluate",
            ["--preset=ds_mobilenet_digits", "--data=digits", f"--bundle={ROOT}/zoo/ds_resnet_cifar10/model.dsbundle"],
            ["model.dsbundle must be a bundle of 'ds_mobilenet_digits', with (image shape, levels, classes)"],
        ),
        ("benchmark supernet", ["--layout=medium", "--architecture=DSViT"], ["DSViT has no layout 'medium'"]),
        ("benchmark supernet", ["--layout=tiny", "--rounds=2"], ["rounds", "2"]),
        ("benchmark bundle", ["--bundle=absent"], ["'absent' does not exist"]),
        ("benchmark onnx", ["--onnx=a"], ["needs --preset"]),
        ("benchmark lcnet", ["--preset=ds_mobilenet_digits"], ["a network without slice levels, received DSMobileNet"]),
        ("list", ["--preset=a"], ["preset"]),
        ("export", ["--preset=a", "--output=b", "--quantization=int1"], ["quantization", "int1"]),
        ("export", ["--preset=a", "--output=b", "--chosen_by=me"], ["chosen_by", "me"]),
        (
            "evaluate",
            ["--preset=ds_mobilenet_digits", "--data=digits", "--split=all"],
            ["--split must be one of ['test', 'train'], received 'all'"],
        ),
        (
            "evaluate",
            ["--preset=ds_mobilenet_digits", "--data=digits", "--plot=plot.png"],
            ["--plot needs --policies=all"],
        ),
        ("evaluate", ["--preset=a", "--data=digits", "--policies=some"], ["policies", "some"]),
        ("evaluate", ["--preset=a", "--data=digits", "--image_size=1025"], ["image_size", "1024"]),
        (
            "evaluate",
            ["--preset=a", "--data=digits", "--image_size=9", "--policies=all"],
            ["--policies=all goes without --image_size"],
        ),
        ("evaluate", ["--preset=ds_vit", "--data=digits", "--image_size=64"], ["image_size must be left out", "32x32"]),
        ("report", ["--data=digits"], ["exactly one of --preset and --workdir"]),
        ("report", ["--data=digits", "--preset=a", "--workdir=b"], ["exactly one of --preset and --workdir"]),
        ("report", ["--data=digits", "--workdir=absent"], ["unknown preset 'absent/preset'"]),
        ("compress", ["--preset=a", "--data=b", "--output=c", "--epochs=0"], ["epochs", "0"]),
        ("convert", ["--checkpoint=absent", "--output=out", "--image_size=0"], ["image_size", "0"]),
    ],
)
def test_bad_flags(name, arguments, parts, tmp_path):
    refused(tool(*name.split(), *arguments, cwd=tmp_path), *parts)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 2, "error: not enough memory"),
        (RuntimeError("LiteRT differs from Keras"), 2, "error: LiteRT differs from Keras"),
        (OSError(), 2, "error: OSError"),
        (tf.errors.InvalidArgumentError(None, None, "ValueError: a.jpg is cut\nTraceback"), 2, "error: a.jpg is cut"),
        (
            tf.errors.ResourceExhaustedError(None, None, "disk"),
            2,
            "error: TensorFlow has not enough memory or disk: disk",
        ),
        (ValueError("the file \x1b[31mred\udcff\nand\rmore"), 2, "error: the file \\x1b[31mred\\udcff and more"),
    ],
    ids=["Ctrl-C", "memory", "comparison", "without a message", "image", "TensorFlow", "control codes"],
)
def test_how_a_command_ends(error, code, said, monkeypatch):
    def fails(_):
        raise error

    monkeypatch.setattr("ds_keras.cli.presets.list.main", fails)
    result = tool("list")
    assert (result.returncode, result.stdout, result.stderr) == (code, "", f"{said}\n")


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [("> /dev/full", 2, "error: [Errno 28] No space left on device\n"), ("| true", 1, ""), (">&-", 0, "")],
    ids=["full disk", "reader that is gone", "closed"],
)
def test_output_that_nothing_takes(end, code, said):
    script = f"set -o pipefail; {sys.executable} -m ds_keras list {end}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (code, said)


def test_a_config_without_an_experiment(tmp_path):
    (tmp_path / "config.py").write_text("OTHER = 1\n")
    refused(tool("train", "--config=config.py", "--workdir=out", cwd=tmp_path), "config.py must define EXPERIMENT")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["benchmark supernet", "card", "compress", "evaluate", "export", "report"])
def test_an_unknown_preset(name, tmp_path):
    result = tool(*name.split(), "--preset=ds_mobilenet_digit", *SAME_FLAGS.get(name, []), cwd=tmp_path)
    refused(result, "unknown preset 'ds_mobilenet_digit'", "did you mean ds_mobilenet_digits")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("levels", ["0,9", "one", ""])
def test_export_of_levels_that_are_not_there(levels, tmp_path):
    result = tool("export", "--preset=ds_mobilenet_digits", "--output=out", f"--levels={levels}", cwd=tmp_path)
    refused(result, "level")
    assert not (tmp_path / "out").exists()


def test_export(tmp_path):
    result = tool("export", "--preset=ds_mobilenet_digits", "--output=out", "--levels=0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    path = tmp_path / "out/level_0.tflite"
    assert f"out/level_0.tflite  {path.stat().st_size} bytes" in result.stdout


@pytest.mark.slow
def test_export_and_benchmark_of_a_bundle(tmp_path):
    arguments = ["--preset=ds_mobilenet_digits", "--output=digits.dsbundle", "--format=bundle"]
    refused(tool("export", *arguments, "--levels=0", cwd=tmp_path), "--levels must be 'all' for a bundle")
    result = tool("export", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    size = (tmp_path / "digits.dsbundle").stat().st_size
    assert f"digits.dsbundle  {size} bytes  4 levels" in result.stdout
    (tmp_path / "photos").mkdir()
    bundle = ["benchmark", "bundle", "--bundle=digits.dsbundle", "--images=photos"]
    refused(tool(*bundle, cwd=tmp_path), "found none in 'photos'")
    refused(tool(*bundle, "--data=digits", cwd=tmp_path), "give --data or --images")
    for i, image in enumerate(data.digits()["test"].images()[:3]):
        Image.fromarray(image[..., 0].astype("uint8")).save(tmp_path / f"photos/{i}.png")
    int8 = ["--preset=ds_mobilenet_digits", "--output=int8.dsbundle", "--format=bundle", "--quantization=int8"]
    refused(tool("export", *int8, cwd=tmp_path), "--calibration goes with --quantization=int8, which needs it")
    result = tool("export", *int8, "--calibration=photos", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    arguments = ["--bundle=digits.dsbundle", "--images=photos", "--rounds=3", "--plot=levels.png"]
    arguments += ["--against=int8.dsbundle"]
    result = tool("benchmark", "bundle", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = ["level"] * 4 + ["routed"] + ["budget"] * 5 + ["XNNPACK"] + ["int8"] * 5
    assert [line.split()[0] for line in result.stdout.splitlines()] == rows
    assert (tmp_path / "levels.png").stat().st_size > 1000
    result = tool("benchmark", "opening", "--bundle=digits.dsbundle", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["open"] * 18 + ["memory"] * 5
    (tmp_path / "digits.dsbundle").write_bytes(b"x")
    refused(tool("benchmark", "bundle", "--bundle=digits.dsbundle", cwd=tmp_path), "is not a bundle, or a damaged one")


@pytest.mark.slow
def test_export_and_benchmark_of_onnx(tmp_path):
    pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'ds_keras[onnx]'")
    arguments = ["--preset=ds_mobilenet_digits", "--format=onnx"]
    result = tool("export", *arguments, "--output=out", "--levels=0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"out/level_0.onnx  {(tmp_path / 'out/level_0.onnx').stat().st_size} bytes" in result.stdout
    for chosen_by in ("gate", "input"):
        result = tool("export", *arguments, "--output=digits.onnx", f"--chosen_by={chosen_by}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        size = (tmp_path / "digits.onnx").stat().st_size
        assert f"digits.onnx  {size} bytes  4 levels" in result.stdout
    arguments = ["--onnx=digits.onnx", "--preset=ds_mobilenet_digits", "--count=3", "--rounds=3"]
    result = tool("benchmark", "onnx", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == ["level input", "ONNX Runtime"] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format=onnx", "--chosen_by=gate", "--levels=0"], "--levels must be 'all' for --chosen_by=gate"),
        (["--format=onnx", "--quantization=float16"], "--quantization must be 'none' for --format=onnx"),
        (["--format=bundle", "--chosen_by=input"], "--chosen_by must be 'file' for --format=bundle"),
    ],
)
def test_export_of_what_does_not_go_together(arguments, message, tmp_path):
    refused(tool("export", "--preset=ds_mobilenet_digits", "--output=out", *arguments, cwd=tmp_path), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_classes_of_other_names(command, tmp_path, monkeypatch):
    """An error, unless the user says that they are the same."""
    sets = data.digits()
    for source in sets.values():
        source.class_names = [*source.class_names[:7], "sept", *source.class_names[8:]]
    monkeypatch.setattr("ds_keras.data.load", lambda spec: sets)
    arguments = [command, "--preset=ds_mobilenet_digits", "--data=digits"]
    refused(tool(*arguments, cwd=tmp_path), "class 7 is 'sept', but '7' in ds_mobilenet", "--by_position")
    source = open_data(zoo.load("ds_mobilenet_digits"), "ds_mobilenet_digits", "digits", "test", by_position=True)
    assert source.class_names[7] == "sept"


def test_evaluate_on_images_of_other_channels():
    refused(tool("evaluate", "--preset=ds_vit", "--data=digits"), "--data has images of 1 channels", "reads 3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--level=4"], "level must be"),
        (["--methods=prune,shrink"], "methods must be a list of one or more of ('prune', 'cluster', 'quantize')"),
        (["--sparsity=1"], "sparsity must be a number in (0, 1), received 1.0"),
        (["--batch_size=5000"], "--batch_size must be at most half of"),
        (["--output=file"], "--output must be a directory, received the file 'file'"),
    ],
    ids=str,
)
def test_compress_of_what_it_refuses(arguments, message, tmp_path):
    (tmp_path / "file").touch()
    given = ["--preset=ds_mobilenet_digits", *SAME_FLAGS["compress"], *arguments]
    refused(tool("compress", *given, cwd=tmp_path), message)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_evaluate(tmp_path):
    """Prints and writes what ``evaluate`` returns; that it is what the card says: ``tests/zoo/test_digits.py``."""
    model, test = pair(num_classes=10, labels=list("0123456789")), data.digits()["test"]
    zoo.save(model, tmp_path / "nano", {"levels": []}, "card")
    result = tool("evaluate", "--preset=nano", "--data=digits", "--json=figures.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "figures.json").read_text())
    figures = evaluate(model, test.images(), test.labels)
    assert {key: found[key] for key in figures} == json.loads(json.dumps(figures))
    assert found["image_shape"] == [8, 8, 1]
    for row in found["policies"]:
        assert row["policy"] in result.stdout and str(row["top1"]) in result.stdout


@pytest.mark.slow
def test_the_table_of_policies_matches_the_card(tmp_path):
    """One command makes the tables of the card and its plot."""
    arguments = ["--preset=ds_mobilenet_digits", "--data=digits", "--policies=all"]
    result = tool("evaluate", *arguments, "--json=figures.json", "--plot=plot.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found, card = json.loads((tmp_path / "figures.json").read_text()), zoo.card("ds_mobilenet_digits")
    assert found["temperatures"] == card["temperatures"]
    for ours, theirs in zip(found["equal_cost"]["rows"], card["equal_cost"]["rows"], strict=True):
        assert ours["policy"] == theirs["policy"] and ours["policy"] in result.stdout
        assert ours["top1"] == pytest.approx(theirs["top1"], abs=0.1)
        assert all(str(value) in result.stdout for value in (*ours["top1"], *ours["saved"]))
    for ours, theirs in zip(found["budgets"]["rows"], card["budgets"]["rows"], strict=True):
        assert [ours[k] for k in ("asked", "spent", "top1")] == pytest.approx(
            [theirs[k] for k in ("asked", "spent", "top1")], abs=0.3
        )
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_report(tmp_path):
    bundle = ROOT / "zoo/ds_mobilenet_digits/model.dsbundle"
    arguments = [
        "--preset=ds_mobilenet_digits",
        "--data=digits",
        f"--bundle={bundle}",
        "--rounds=3",
        "--output=page.html",
    ]
    result = tool("report", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "page.html").read_text()
    assert result.stdout == f"page.html  {len(text.encode())} bytes\n"
    assert f"ds-keras report {' '.join(arguments)}" in text
    for part in ("start", "gate", "level 3"):
        assert re.search(rf'<th scope="row">{part}.*</th><td>0\.\d{{4}}</td>', text)
    composed = float(re.search(r"(0\.\d{4}) ms as the sum", text)[1])
    times = [float(t) for t in re.findall(r'<th scope="row">level \d</th><td>0\.\d{4}</td><td>(0\.\d{4})</td>', text)]
    assert len(times) == 4 and min(times) <= composed


def test_evaluate_on_data_of_other_classes(tmp_path):
    import numpy as np
    from PIL import Image

    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for i in range(2):
                Image.fromarray(np.full((8, 8), 99 * i, "uint8")).save(tmp_path / f"data/{split}/{label}/{i}.png")
    result = tool("evaluate", "--preset=ds_mobilenet_digits", "--data=folder:data", cwd=tmp_path)
    refused(result, "2 classes")


def test_benchmark(tmp_path):
    arguments = ["--layout=tiny", "--what=routed_batch", "--rounds=3", "--batch_size=4", "--json=rows.json"]
    result = tool("benchmark", "supernet", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"routed batch .* ms against .* ms: ratio \d", result.stdout)
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["rows"][0]["what"] == "routed batch" and written["measured"] == "DSMobileNet.tiny"
    assert (written["batch_size"], written["rounds"], written["images"]) == (4, 3, "noise")
    assert {"tensorflow", "numpy"} <= set(written["versions"]) and "cores" in written["machine"]


def test_benchmark_of_training(tmp_path, monkeypatch):
    times = {"a_ms": 100.0, "b_ms": 200.0, "ratio": 0.5, "ratio_p90": 0.5, "a_p90_ms": 100.0}
    row = {"what": "Stage I step", "level": "every level", "kind": "+ shares", "images": 4, **times}
    monkeypatch.setattr("ds_keras.benchmarks.training.recipe.recipe", lambda model, stage, rounds: [row])
    arguments = ["--preset=ds_mobilenet_digits", f"--config={ROOT}/zoo/ds_mobilenet_digits/experiment.py"]
    result = tool("benchmark", "training", *arguments, "--json=rows.json", cwd=tmp_path)
    assert "40.0 against 20.0 images/s" in result.stdout, result.stderr
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["measured"] == "ds_mobilenet_digits" and written["config"].endswith("experiment.py")
