import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import array, close, same
from official import LATE, SHAPE, STEM, STRIDES, build, official
from programs import run_program

from ds_keras import zoo
from ds_keras.convert import ds_net as convert

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT.parent / "shared/fixtures"
CHECKPOINT, REFERENCE = FIXTURES / "ds_mbnet_tiny.pth.tar", FIXTURES / "ds_mbnet_tiny_reference.npz"


@pytest.fixture(scope="module")
def converted():
    """A random state dictionary and its model: do not change them."""
    state = official()
    return state, build(state)


@pytest.fixture(scope="module")
def fixture_model():
    pytest.importorskip("torch", reason="needs PyTorch: pip install ds_keras[convert]")
    if not CHECKPOINT.exists():
        pytest.skip(f"needs {CHECKPOINT}")
    return convert.from_official(CHECKPOINT, (64, 64, 3), mean=0, std=1)


@pytest.mark.parametrize("level", [*range(7), "largest"])
def test_equals_the_official_code(fixture_model, level):
    with np.load(REFERENCE) as reference:
        x = reference["images_nchw"].transpose(0, 2, 3, 1)
        expected = reference["largest" if level == "largest" else f"level_{level}"]
    teacher = fixture_model.teacher_level
    close(fixture_model(x, level=teacher if level == "largest" else level), expected)


def test_reads_the_architecture(converted):
    _, model = converted
    assert model.table["stem"] == STEM
    early, late = model.table["stages"]
    assert (early.width, early.teacher, early.depth, early.stride, early.gate) == (8, 12, 1, 1, False)
    assert (late.width, late.teacher, late.depth, late.stride, late.gate) == (LATE, None, 2, 2, True)
    assert (model.num_classes, len(model.levels), model.style.padding) == (5, 3, "symmetric")
    assert model.mean == list(convert.MEAN)
    assert model(np.zeros((2, *SHAPE)), level=1).shape == (2, 5)


def test_transposes_kernels(converted):
    state, model = converted
    block, at = model.blocks[2], "blocks.1.residual_blocks.0"
    same(array(model.stem.kernel)[1, 2, 0, 3], state["conv_stem.weight"][3, 0, 1, 2])
    same(array(block.depthwise.kernel)[1, 2, 5, 0], state[f"{at}.conv_dw.weight"][5, 0, 1, 2])
    same(array(block.pointwise.kernel)[0, 0], state[f"{at}.conv_pw.weight"][:, :, 0, 0].T)
    same(array(block.gate.reduce.kernel)[0, 0], state[f"{at}.gate.conv_reduce.weight"][:, :, 0, 0].T)
    same(block.gate.expand.bias, state[f"{at}.gate.conv_expand.bias"])
    same(model.classifier.kernel, state["classifier.weight"].T)


def test_statistics_belong_to_their_level(converted):
    state, model = converted
    early, late = "blocks.0.first_block.bn2.aux_bn", "blocks.1.first_block.bn2.aux_bn"
    norm = model.blocks[0].norm2  # rows: every level, teacher
    same(array(norm.moving_mean)[0, :8], state[f"{early}.0.running_mean"])
    same(array(norm.moving_variance)[1], state[f"{early}.1.running_var"])
    norm = model.blocks[1].norm2  # rows: levels 0, 1, 2, teacher
    same(array(norm.moving_variance)[1, :12], state[f"{late}.1.running_var"])
    same(array(norm.moving_mean)[2], state[f"{late}.2.running_mean"])
    same(array(norm.moving_mean)[3], array(norm.moving_mean)[2])
    same(norm.gamma, state[f"{late}.2.weight"])
    same(norm.beta, state[f"{late}.2.bias"])


def test_equal_widths_share_the_first_statistics():
    state = official(stem=(6, 6))
    model = build(state)
    same(model.stem_norm.moving_mean, np.stack([state["bn1.aux_bn.0.running_mean"]] * 2))


def test_without_a_teacher():
    state = official(early=1)
    model = build(state)
    assert model.teacher_level == model.levels[-1]
    same(model.blocks[2].norm1.moving_mean[2], state["blocks.1.residual_blocks.0.bn1.aux_bn.2.running_mean"])


def test_slimming_head_is_copied_where_it_fits():
    state = official(outputs=3)
    model = build(state)
    same(model.gate_layer().logits.kernel, state["blocks.1.first_block.gate.gate.0.weight"][:, :, 0, 0].T)
    assert model.default_policy == "gate"
    assert build(state, gate_hidden=4).default_policy == "cascade"


def test_slimming_head_that_does_not_fit_is_left_and_logged(converted, caplog):
    state, model = converted
    assert model.default_policy == "cascade"
    with caplog.at_level("WARNING", "absl"):
        model = build(state, default_policy=0)
    assert "4 outputs" in caplog.text and "3 levels" in caplog.text
    assert model.default_policy == 0


def test_module_prefix(converted):
    state, model = converted
    prefixed = build({f"module.{key}": value for key, value in state.items()})
    x = np.random.default_rng(0).uniform(0, 255, (2, *SHAPE)).astype("float32")
    same(prefixed(x, level=2), model(x, level=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier.weight": None}, "lacks classifier.weight"),
        ({"bn1.aux_bn.0.running_mean": None}, "lacks bn1.aux_bn.0.running_mean"),
        ({"conv_head.weight": np.zeros(3)}, "unknown conv_head.weight"),
        ({"module.conv_stem.weight": np.zeros(3)}, "with and without 'module.': conv_stem.weight"),
        (
            {"conv_stem.weight": np.zeros((6, 1, 3, 3))},
            r"conv_stem.weight: received shape \(6, 1, 3, 3\)",
        ),
        (
            {"bn1.aux_bn.0.running_var": np.zeros(5)},
            r"0.running_var: received shape \(5,\), expected \(4,\)",
        ),
        ({"classifier.bias": np.full(5, np.nan)}, "classifier.bias: every value must be finite"),
        ({"blocks.1.first_block.gate.gate.0.weight": None}, "received 0 and 2"),
    ],
)
def test_bad_state(converted, change, message):
    state = {key: value for key, value in {**converted[0], **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        build(state)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"strides": None}, r"strides must be 3 positive integers .* received \(2, 1, 2, 2, 2, 2\)"),
        ({"strides": (2, 0, 2)}, r"received \(2, 0, 2\)"),
        ({"padding": "same"}, "padding cannot be given"),
        ({"input_shape": (16, 16, 1)}, "conv_stem.weight: received shape"),
    ],
)
def test_bad_arguments(converted, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(converted[0], **kwargs)


def test_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(FileNotFoundError, match="absent"):
        convert.from_official(tmp_path / "absent.pth.tar")
    with pytest.raises(ImportError, match=r"pip install ds_keras\[convert\]"):
        convert.from_official(__file__)


def test_files(tmp_path, monkeypatch, converted):
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install ds_keras[convert]")

    class Evil:
        def __reduce__(self):
            return os.mkdir, ("evil",)

    monkeypatch.chdir(tmp_path)
    state = {f"module.{key}": torch.from_numpy(value) for key, value in converted[0].items()}
    torch.save({"state_dict_ema": state, "args": argparse.Namespace(lr=0.1)}, "ema.pth.tar")
    model = convert.from_official("ema.pth.tar", SHAPE, ema=True, strides=STRIDES)
    same(model.classifier.bias, converted[0]["classifier.bias"])
    with pytest.raises(ValueError, match=r"must hold 'state_dict', .* it holds args, state_dict_ema"):
        convert.from_official("ema.pth.tar")
    torch.save({"state_dict": {"a": Evil()}}, "evil.pth.tar")
    Path("text").write_text("not a checkpoint")
    Path("empty").touch()
    for name in ("evil.pth.tar", "text", "empty"):
        with pytest.raises(ValueError, match=f"{name} is not a PyTorch checkpoint"):
            convert.from_official(name)
    assert not Path("evil").exists()


def tool(*arguments):
    return run_program(ROOT / "tools" / "convert_checkpoint.py", *arguments, cwd=ROOT, env=os.environ)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--checkpoint=absent"], "'absent'"), (["--checkpoint=a", "--strides=2,x"], "--strides must be integers")],
)
def test_tool_refuses_bad_input(arguments, message, tmp_path):
    result = tool(*arguments, f"--output={tmp_path / 'out'}")
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_tool_writes_a_preset(fixture_model, tmp_path):
    assert "--strides" in tool("--help").stdout
    result = tool(f"--checkpoint={CHECKPOINT}", f"--output={tmp_path / 'out'}", "--image_size=64")
    assert result.returncode == 0, result.stderr
    model = zoo.load(tmp_path / "out")
    same(model.classifier.kernel, fixture_model.classifier.kernel)
    assert model.input_shape == (None, 64, 64, 3)
    assert "sha256" in (tmp_path / "out/README.md").read_text()
