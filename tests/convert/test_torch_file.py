"""Checkpoints of others: refused with one error that names file and tensor, before memory is taken."""

import argparse
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from fuzz import fuzz

from ds_keras.convert import ds_net
from ds_keras.convert.torch_file import MAX_BYTES, read_tensors


@pytest.fixture(scope="module", autouse=True)
def _torch():
    """PyTorch takes long to import, and every worker of pytest-xdist reads this file."""
    global torch
    torch = pytest.importorskip("torch")


def saved(path, state, **options):
    torch.save({"state_dict": state}, path, **options)
    return path


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_a_key_that_is_hashed_in_exponential_time(tmp_path, options):
    """``weights_only`` alone would take years."""
    key = ("a",)
    for _ in range(12):
        key = (key, key)  # 2^12 values: slow enough to refuse, quick enough to write
    path = saved(tmp_path / "a.pth", {"a": torch.ones(1), key: 1}, **options)
    with pytest.raises(ValueError, match="a.pth is not a .*: it holds a tuple of more than 1000 values"):
        read_tensors(path, "state_dict")


def test_a_file_of_both_formats(tmp_path):
    """PyTorch goes by the first bytes, so the check does too."""
    key = ("a",)
    for _ in range(12):
        key = (key, key)
    path = saved(tmp_path / "a.pth", {key: 1}, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert zipfile.is_zipfile(path)
    with pytest.raises(ValueError, match="a.pth is not a .*: it holds a tuple of more than 1000 values"):
        read_tensors(path, "state_dict")


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_a_large_checkpoint_of_a_training_is_read(tmp_path, options):
    """Metadata of thousands of layers, an optimizer's state and a log are dictionaries and lists, not tuples."""
    model = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.BatchNorm2d(1)) for _ in range(600)])
    betas = {"betas": (0.9, 0.999), "params": list(range(1200))}
    more = {
        "optimizer": {"state": {i: {"exp_avg": torch.ones(1)} for i in range(1200)}, "param_groups": [betas] * 5},
        "log": [(epoch, 0.5, (1, 2)) for epoch in range(5000)],
        "args": argparse.Namespace(mean=(0.5,) * 3, class_map=[(i, str(i)) for i in range(5000)]),
        "arch": "dsnet",
    }
    torch.save({"state_dict": model.state_dict(), **more}, tmp_path / "a.pth", **options)
    assert len(read_tensors(tmp_path / "a.pth", "state_dict")) == 600 * 5


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
def test_tensors(tmp_path, options):
    state = {"a": torch.ones(2, 3, dtype=torch.float16), "n": torch.tensor(5)}
    found = read_tensors(saved(tmp_path / "a.pth", state, **options), "state_dict")
    assert {name: (value.dtype, value.tolist()) for name, value in found.items()} == {
        "a": (np.float32, [[1.0] * 3] * 2),
        "n": (np.float32, 5.0),
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.ones(3, dtype=torch.complex64), "it is of torch.complex64"),
        (lambda: torch.ones(3, 3).to_sparse(), "it is of the layout torch.sparse_coo"),
        (lambda: torch.ones(3, 3, device="meta"), "it is on the device 'meta', without numbers"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "it is of torch.qint8"),
        (lambda: torch.ones(1).expand(10**13), r"it is of shape \(10000000000000,\), more than its bytes"),
    ],
    ids=["complex", "sparse", "meta", "quantized", "expanded"],
)
@pytest.mark.filterwarnings("ignore")  # of PyTorch
def test_tensors_that_are_no_weights(tmp_path, make, message):
    path = saved(tmp_path / "a.pth", {"good": torch.ones(1), "conv.weight": make()})
    with pytest.raises(ValueError, match=f"a.pth: conv.weight must be a plain tensor of real numbers, {message}"):
        read_tensors(path, "state_dict")


def test_tensors_that_share_their_bytes(tmp_path):
    one = torch.ones(1000, 1000)
    path = saved(tmp_path / "a.pth", {f"w{i}": one for i in range(5)})
    with pytest.raises(ValueError, match="a.pth: w1 and those before it take more bytes than the file"):
        read_tensors(path, "state_dict")


class Evil:
    def __reduce__(self):
        return os.system, ("true",)


def test_other_files(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(ValueError, match="a.pth is not a PyTorch checkpoint of tensors and plain data only"):
        read_tensors(path, "state_dict")
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="a.pth is not a PyTorch checkpoint of tensors and plain data only"):
        read_tensors(path, "state_dict")
    torch.save({"state_dict": {1: torch.ones(1)}}, path)
    with pytest.raises(ValueError, match="a.pth: every tensor must have a string as its name, received int"):
        read_tensors(path, "state_dict")
    torch.save({(1, 2): 1}, path)
    with pytest.raises(ValueError, match="a.pth must hold 'state_dict', a dictionary of tensors; it holds tuple"):
        read_tensors(path, "state_dict")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))
    with pytest.raises(ValueError, match="its parts are compressed"):
        read_tensors(path, "state_dict")
    os.truncate(path, MAX_BYTES + 1)
    with pytest.raises(ValueError, match=f"cannot read .*a.pth: {MAX_BYTES + 1} bytes, at most"):
        read_tensors(path, "state_dict")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="cannot read .*a.pth: it is not a regular file"):
        read_tensors(path, "state_dict")


STATE = {  # shapes by name
    "blocks.0.first_block.gate.gate.0.weight": (2, 4, 1, 1),
    "blocks.0.first_block.bn2.aux_bn.0.running_mean": (4,),
    "blocks.0.first_block.bn2.aux_bn.1.running_mean": (8,),
    "blocks.0.first_block.conv_dw.weight": (8, 1, 3, 3),
    "bn1.aux_bn.0.running_mean": (4,),
    "classifier.bias": (3,),
}


@pytest.mark.parametrize(
    "more",
    [
        {"blocks.0.residual_blocks.999999.x": (1,)},
        {"blocks.0.first_block.conv_dw.weight": (1, 99_999)},
        {"blocks.0.first_block.bn2.aux_bn.999999.running_mean": (1,)},
        {"blocks.999999.x": (1,)},
        {"x" * 10**6: (1,)},
        {"\x1b[31m": (1,)},
    ],
    ids=["depth", "kernel", "levels", "stages", "a long name", "a name that is no text"],
)
def test_shapes_that_ask_for_more_than_they_are(tmp_path, more):
    path = saved(tmp_path / "a.pth", {name: torch.ones(*shape) for name, shape in {**STATE, **more}.items()})
    with pytest.raises(ValueError, match="a.pth: ") as error:
        ds_net.from_official(path, (32, 32, 3), strides=[1, 1])
    assert len(str(error.value)) < 3000 and str(error.value).isprintable()


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "legacy"])
@pytest.mark.parametrize("count", [50, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")  # of PyTorch
def test_fuzz(tmp_path, options, count):
    content = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(3, 4), "b": torch.arange(5)}}, content, **options)
    path = tmp_path / "a.pth"

    def read(data):
        path.write_bytes(data)
        read_tensors(path, "state_dict")

    fuzz(read, [content.getvalue()], count, names="a.pth", untouched=True)
