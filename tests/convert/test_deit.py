from typing import NamedTuple

import numpy as np
import pytest
from fuzz import fuzz
from helpers import close, images

from ds_keras.convert import deit, from_deit
from ds_keras.models import DSViT
from ds_keras.models.vit import Row


class Sizes(NamedTuple):
    """Sizes of a network; patch and image in pixels."""

    width: int = 12
    heads: int = 3
    mlp: int = 20
    depth: int = 3
    patch: int = 4
    image: int = 8


SMALL = Sizes()
TINY = Sizes(192, 3, 768, 12, 16, 32)  # DeiT-Ti's; only its images are larger (224)


def state(sizes=SMALL, classes=3):
    """Random tensors under timm's names."""
    rng, tokens = np.random.default_rng(0), (sizes.image // sizes.patch) ** 2 + 1
    width, mlp = sizes.width, sizes.mlp

    def normal(*shape):
        return rng.normal(0, 0.5 / np.sqrt(shape[-1]), shape).astype("float32")

    weights = {"cls_token": normal(1, 1, width), "pos_embed": normal(1, tokens, width)}
    weights["patch_embed.proj.weight"] = normal(width, 3, sizes.patch, sizes.patch)
    weights["patch_embed.proj.bias"] = normal(width)
    for i in range(sizes.depth):
        rows = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        rows |= {"mlp.fc1": (mlp, width), "mlp.fc2": (width, mlp)}
        for name, shape in rows.items():
            weights[f"blocks.{i}.{name}.weight"] = 2 * normal(*shape)
            weights[f"blocks.{i}.{name}.bias"] = normal(shape[0])
        for name in ("norm1", "norm2"):
            weights[f"blocks.{i}.{name}.weight"], weights[f"blocks.{i}.{name}.bias"] = 1 + normal(width), normal(width)
    weights |= {"norm.weight": 1 + normal(width), "norm.bias": normal(width)}
    return {**weights, "head.weight": normal(classes, width), "head.bias": normal(classes)}


def reference(weights, x, sizes=SMALL):
    """The network in numpy, as the paper has it; GELU in its tanh form."""

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    batch, side, _, channels = x.shape
    n, patch, head = side // sizes.patch, sizes.patch, sizes.width // sizes.heads
    patches = x.reshape(batch, n, patch, n, patch, channels).transpose(0, 1, 3, 5, 2, 4).reshape(batch, n * n, -1)
    x = patches @ weights["patch_embed.proj.weight"].reshape(sizes.width, -1).T + weights["patch_embed.proj.bias"]
    x = np.concatenate([np.repeat(weights["cls_token"], batch, 0), x], axis=1) + weights["pos_embed"]
    for i in range(sizes.depth):
        block = f"blocks.{i}"
        qkv = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x)).reshape(batch, -1, 3, sizes.heads, head)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)
        scores = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(head))
        y = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + linear(f"{block}.attn.proj", y.transpose(0, 2, 1, 3).reshape(batch, -1, sizes.width))
        y = linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x))
        y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
        x = x + linear(f"{block}.mlp.fc2", y)
    return linear("head", norm("norm", x)[:, 0])


def network(classes=3):
    rows = (Row(4, 1, 8), Row(8, 2, 12), Row(12, 3, 20))
    return DSViT(rows, 3, 1, 4, classes, (8, 8, 3), 4, mean=0.0, std=255.0)


def test_the_largest_level_gives_the_logits_and_order_moves_the_smaller_ones():
    weights, x = state(), images(3, 8, 3)
    models = [from_deit(weights, network(), order=order) for order in (False, True)]
    for model in models:
        close(model(x, level=2), reference(weights, x / 255))
    small = [np.array(model(x, level=0)) for model in models]
    assert np.abs(small[0] - small[1]).max() > 1e-3


def test_the_layout_of_deit_ti():
    weights, x = state(TINY, classes=5), images(2, TINY.image, 3)
    model = from_deit(weights, input_shape=(TINY.image, TINY.image, 3), mean=0.0, std=255.0)
    expected = reference(weights, x / 255, TINY)
    assert np.ptp(expected, axis=0).max() > 0.1  # they depend on the image
    close(model(x, level=model.teacher_level), expected)


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
        ({"dist_token": np.ones((1, 1, 12), "float32")}, "no place for"),
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
