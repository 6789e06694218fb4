import numpy as np
import pytest
from fuzz import fuzz
from helpers import close, images

from ds_keras.convert import deit, from_deit
from ds_keras.models import DSViT
from ds_keras.models.vit import Row

WIDTH, HEADS, MLP, DEPTH, PATCH = 12, 3, 20, 3, 4


def state(seed=0, classes=3, size=8):
    """Random tensors under timm's names."""
    rng, tokens = np.random.default_rng(seed), (size // PATCH) ** 2 + 1

    def normal(*shape):
        return rng.normal(0, 0.5 / np.sqrt(shape[-1]), shape).astype("float32")

    weights = {"cls_token": normal(1, 1, WIDTH), "pos_embed": normal(1, tokens, WIDTH)}
    weights |= {"patch_embed.proj.weight": normal(WIDTH, 3, PATCH, PATCH), "patch_embed.proj.bias": normal(WIDTH)}
    for i in range(DEPTH):
        rows = {"attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH)}
        rows |= {"mlp.fc1": (MLP, WIDTH), "mlp.fc2": (WIDTH, MLP)}
        for name, shape in rows.items():
            weights[f"blocks.{i}.{name}.weight"] = 2 * normal(*shape)
            weights[f"blocks.{i}.{name}.bias"] = normal(shape[0])
        for name in ("norm1", "norm2"):
            weights[f"blocks.{i}.{name}.weight"], weights[f"blocks.{i}.{name}.bias"] = 1 + normal(WIDTH), normal(WIDTH)
    weights |= {"norm.weight": 1 + normal(WIDTH), "norm.bias": normal(WIDTH)}
    return {**weights, "head.weight": normal(classes, WIDTH), "head.bias": normal(classes)}


def reference(weights, x):
    """The network in numpy, as the paper has it; GELU in its tanh form."""

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    batch, side, _, channels = x.shape
    n = side // PATCH
    patches = x.reshape(batch, n, PATCH, n, PATCH, channels).transpose(0, 1, 3, 5, 2, 4).reshape(batch, n * n, -1)
    x = patches @ weights["patch_embed.proj.weight"].reshape(WIDTH, -1).T + weights["patch_embed.proj.bias"]
    x = np.concatenate([np.repeat(weights["cls_token"], batch, 0), x], axis=1) + weights["pos_embed"]
    for i in range(DEPTH):
        block = f"blocks.{i}"
        qkv = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x)).reshape(batch, -1, 3, HEADS, WIDTH // HEADS)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)
        scores = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(WIDTH // HEADS))
        y = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + linear(f"{block}.attn.proj", y.transpose(0, 2, 1, 3).reshape(batch, -1, WIDTH))
        y = linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x))
        y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
        x = x + linear(f"{block}.mlp.fc2", y)
    return linear("head", norm("norm", x)[:, 0])


def network(classes=3):
    rows = (Row(4, 1, 8), Row(8, 2, 12), Row(WIDTH, HEADS, MLP))
    return DSViT(rows, DEPTH, 1, WIDTH // HEADS, classes, (8, 8, 3), PATCH, mean=0.0, std=255.0)


def test_the_largest_level_gives_the_logits_and_order_moves_the_smaller_ones():
    weights, x = state(), images(3, 8, 3)
    models = [from_deit(weights, network(), order=order) for order in (False, True)]
    for model in models:
        close(model(x, level=2), reference(weights, x / 255))
    small = [np.array(model(x, level=0)) for model in models]
    assert np.abs(small[0] - small[1]).max() > 1e-3


def test_a_safetensors_file(tmp_path):
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    path = tmp_path / "deit.safetensors"
    library.save_file(state(), path)
    x = images(2, 8, 3)
    close(from_deit(path, network())(x, level=2), reference(state(), x / 255))
    path.write_bytes(b"not one")
    with pytest.raises(ValueError, match="path must be a safetensors file"):
        deit.read_safetensors(path)
    with pytest.raises(ValueError, match="path must be a safetensors file"):
        deit.read_safetensors(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos_embed": None}, "pos_embed must have the shape"),
        ({"blocks.0.attn.qkv.bias": np.ones(3, "float32")}, "qkv.bias must have the shape"),
        ({"dist_token": np.ones((1, 1, WIDTH), "float32")}, "no place for"),
    ],
)
def test_other_weights_are_refused(change, message):
    weights = {name: value for name, value in {**state(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        from_deit(weights, network())


def test_the_layout_follows_the_width():
    with pytest.raises(ValueError, match=r"of width \(192, 384\), received 12"):
        from_deit(state())


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_fuzz_safetensors(tmp_path, count):
    library = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    content = library.save({"a": np.ones((3, 4), "float32"), "b": np.arange(5)})
    path = tmp_path / "deit.safetensors"

    def read(data):
        path.write_bytes(data)
        deit.read_safetensors(path)

    fuzz(read, [content], count, names=path.name)
