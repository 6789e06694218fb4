"""The programs of ``tools/``, in processes of their own."""

import ast
import json
import os
import re
from pathlib import Path

import pytest
from PIL import Image
from programs import run_program

from ds_keras import data

ROOT = Path(__file__).parents[2]
TOOLS = sorted(path.stem for path in (ROOT / "tools").glob("*.py") if path.stem not in ("cli", "jvm"))
SAME_FLAGS = {
    "compress": ["--data=digits", "--output=out"],
    "train": ["--workdir=out"],
    "evaluate": ["--data=digits"],
    "export": ["--output=out"],
    "report": ["--data=digits"],
}


def tool(name, *arguments, cwd=ROOT):
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "160"}
    return run_program(ROOT / "tools" / f"{name}.py", *arguments, cwd=cwd, env=env)


def refused(result, *parts):
    """Exit code 2, one clear line at the end of stderr, no traceback, nothing on stdout."""
    assert result.returncode == 2, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ") and len(last) < 600
    assert all(part in last for part in parts), last
    assert "Traceback" not in result.stderr and result.stdout == ""


@pytest.mark.parametrize("name", TOOLS)
def test_help(name):
    """absl's ``--help`` ends with 1; what counts is that it answers: purpose, example, every flag."""
    result = tool(name, "--help")
    assert result.returncode in (0, 1) and "Traceback" not in result.stderr
    text = (ROOT / "tools" / f"{name}.py").read_text()
    assert ast.get_docstring(ast.parse(text)).splitlines()[0] in result.stdout
    assert f"python tools/{name}.py" in result.stdout
    for flag in re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', text):
        assert re.search(rf"--(\[no\])?{flag}\b", result.stdout), flag


@pytest.mark.parametrize("name", TOOLS)
def test_unknown_flags_and_arguments(name):
    refused(tool(name, "--no_such_flag=1"), "no_such_flag")
    required = re.findall(r'DEFINE_\w+\("(\w+)", None, .*required=True', (ROOT / f"tools/{name}.py").read_text())
    refused(tool(name, *(f"--{flag}=x" for flag in required), "stray"), "unexpected argument 'stray'")


@pytest.mark.parametrize("name", [name for name in TOOLS if name != "demo"])
def test_missing_flags(name):
    refused(tool(name), "--")


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("train", ["--config=absent.py", "--workdir=out"], ["config must be a Python file", "'absent.py'"]),
        ("train", ["--config=.", "--workdir=out"], ["config must be a Python file", "'.'"]),
        ("ablate", ["--config=.", "--workdir=out", "--variant={}"], ["config must be a Python file", "'.'"]),
        (
            "ablate",
            [f"--config={ROOT}/zoo/ds_mobilenet_digits/experiment.py", "--workdir=out", "--variant=[1]"],
            ["variant must be a JSON object, received '[1]'"],
        ),
        ("train", ["--config=a", "--workdir=b", "--checkpoint_every=0"], ["checkpoint_every", "0"]),
        ("train", ["--config=a", "--workdir=b", "--seed=x"], ["seed", "x"]),
        ("benchmark", ["--preset=a", "--layout=tiny"], ["exactly one of --preset and --layout"]),
        ("benchmark", ["--layout=tiny", "--what=slicing,x"], ["--what", "['x']"]),
        ("benchmark", ["--layout=huge"], ["layout", "huge"]),
        ("benchmark", ["--layout=medium", "--architecture=DSViT"], ["DSViT has no layout 'medium'"]),
        ("benchmark", ["--layout=tiny", "--rounds=2"], ["rounds", "2"]),
        ("benchmark", ["--java", "--bundle=a"], ["give --java with --bundle and the --preset that it was made of"]),
        ("benchmark", ["--onnx=a"], ["give --onnx with the --preset that it was made of"]),
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
        ("report", ["--data=digits"], ["exactly one of --preset and --workdir"]),
        ("report", ["--data=digits", "--preset=a", "--workdir=b"], ["exactly one of --preset and --workdir"]),
        ("report", ["--data=digits", "--workdir=absent"], ["unknown preset 'absent/preset'"]),
        ("compress", ["--preset=a", "--data=b", "--output=c", "--epochs=0"], ["epochs", "0"]),
        ("convert_checkpoint", ["--checkpoint=absent", "--output=out", "--image_size=0"], ["image_size", "0"]),
    ],
)
def test_bad_flags(name, arguments, parts, tmp_path):
    refused(tool(name, *arguments, cwd=tmp_path), *parts)
    assert not list(tmp_path.iterdir())


def test_a_config_without_an_experiment(tmp_path):
    (tmp_path / "config.py").write_text("OTHER = 1\n")
    refused(tool("train", "--config=config.py", "--workdir=out", cwd=tmp_path), "config.py must define EXPERIMENT")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["benchmark", "compress", "evaluate", "export", "report"])
def test_an_unknown_preset(name, tmp_path):
    result = tool(name, "--preset=ds_mobilenet_digit", *SAME_FLAGS.get(name, []), cwd=tmp_path)
    refused(result, "unknown preset 'ds_mobilenet_digit'", "did you mean ds_mobilenet_digits")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("levels", ["0,9", "one", ""])
def test_export_of_levels_that_are_not_there(levels, tmp_path):
    result = tool("export", "--preset=ds_mobilenet_digits", "--output=out", f"--levels={levels}", cwd=tmp_path)
    refused(result, "level")
    assert not (tmp_path / "out").exists()


def test_export(tmp_path):
    result = tool("export", "--preset=ds_mobilenet", "--output=out", "--levels=0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    path = tmp_path / "out/level_0.tflite"
    assert f"out/level_0.tflite  {path.stat().st_size} bytes" in result.stdout


def test_export_and_benchmark_of_a_bundle(tmp_path):
    arguments = ["--preset=ds_mobilenet", "--output=digits.dsbundle", "--format=bundle"]
    refused(tool("export", *arguments, "--levels=0", cwd=tmp_path), "--levels must be 'all' for a bundle")
    result = tool("export", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    size = (tmp_path / "digits.dsbundle").stat().st_size
    assert f"digits.dsbundle  {size} bytes  4 levels" in result.stdout
    (tmp_path / "photos").mkdir()
    refused(tool("benchmark", "--bundle=digits.dsbundle", "--images=photos", cwd=tmp_path), "found none in 'photos'")
    for i, image in enumerate(data.digits()["test"].images()[:3]):
        Image.fromarray(image[..., 0].astype("uint8")).save(tmp_path / f"photos/{i}.png")
    int8 = ["--preset=ds_mobilenet", "--output=int8.dsbundle", "--format=bundle", "--quantization=int8"]
    refused(tool("export", *int8, cwd=tmp_path), "--calibration goes with --quantization=int8, which needs it")
    result = tool("export", *int8, "--calibration=photos", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    arguments = ["--bundle=digits.dsbundle", "--images=photos", "--rounds=3", "--plot=levels.png"]
    arguments += ["--against=int8.dsbundle"]
    result = tool("benchmark", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = ["open"] * 18 + ["memory"] * 5 + ["level"] * 4 + ["routed"] + ["budget"] * 5 + ["XNNPACK"] + ["int8"] * 5
    assert [line.split()[0] for line in result.stdout.splitlines()] == rows
    assert (tmp_path / "levels.png").stat().st_size > 1000
    (tmp_path / "digits.dsbundle").write_bytes(b"x")
    refused(tool("benchmark", "--bundle=digits.dsbundle", cwd=tmp_path), "is not a bundle, or a damaged one")


@pytest.mark.slow
def test_export_and_benchmark_of_onnx(tmp_path):
    pytest.importorskip("tf2onnx", reason="needs tf2onnx: pip install 'ds_keras[onnx]'")
    arguments = ["--preset=ds_mobilenet", "--format=onnx"]
    result = tool("export", *arguments, "--output=out", "--levels=0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"out/level_0.onnx  {(tmp_path / 'out/level_0.onnx').stat().st_size} bytes" in result.stdout
    for chosen_by in ("gate", "input"):
        result = tool("export", *arguments, "--output=digits.onnx", f"--chosen_by={chosen_by}", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        size = (tmp_path / "digits.onnx").stat().st_size
        assert f"digits.onnx  {size} bytes  4 levels" in result.stdout
    arguments = ["--onnx=digits.onnx", "--preset=ds_mobilenet", "--count=3", "--rounds=3"]
    result = tool("benchmark", *arguments, cwd=tmp_path)
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


def test_evaluate_on_images_of_other_channels():
    refused(tool("evaluate", "--preset=ds_resnet", "--data=digits"), "--data has images of 1 channels", "reads 3")


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
    arguments = ["--preset=ds_mobilenet_digits", "--data=digits", "--json=figures.json"]
    result = tool("evaluate", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    import json

    from ds_keras import zoo

    found, card = json.loads((tmp_path / "figures.json").read_text()), zoo.card("ds_mobilenet_digits")
    assert [row["top1"] for row in found["levels"]] == pytest.approx([row["top1"] for row in card["levels"]], abs=0.1)
    for row in found["policies"]:
        assert row["policy"] in result.stdout and str(row["top1"]) in result.stdout


def test_the_table_of_policies_matches_the_card(tmp_path):
    """One command makes the tables of the card and its plot."""
    import json

    from ds_keras import zoo

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
    arguments = ["--preset=ds_mobilenet", "--data=digits", f"--bundle={bundle}", "--rounds=3", "--output=page.html"]
    result = tool("report", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "page.html").read_text()
    assert result.stdout == f"page.html  {len(text.encode())} bytes\n"
    assert f"python tools/report.py {' '.join(arguments)}" in text
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
    result = tool("benchmark", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"routed batch .* ms against .* ms: ratio \d", result.stdout)
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["rows"][0]["what"] == "routed batch" and written["measured"] == "DSMobileNet.tiny"
    assert (written["batch_size"], written["rounds"], written["images"]) == (4, 3, "noise")
    assert {"tensorflow", "numpy"} <= set(written["versions"]) and "cores" in written["machine"]


def test_demo(tmp_path):
    from ds_keras import zoo

    result = tool("demo", "--output=kept", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    card = zoo.card("ds_mobilenet_digits")
    for row in card["levels"]:
        k = row["level"]
        assert re.search(rf"level {k}\W+{row['top1']:.2f}\W+{row['madds'] / 1e3:.1f}\b", result.stdout), k
        parity = re.search(rf"level_{k}\.tflite\W+[\d.]+\W+(\d\.\de[-+]\d+)\W+([\d.]+) %", result.stdout)
        assert float(parity[1]) < 1e-2 and float(parity[2]) == 100.0
        assert (tmp_path / f"kept/level_{k}.tflite").stat().st_size > 1000
    default = card["policies"][0]
    assert re.search(rf"routed\W+{default['top1']:.2f}\W+{default['madds'] / 1e3:.1f}\b", result.stdout)
    assert result.stdout.count("right") >= 3 and "policy 'cascade'" in result.stdout
