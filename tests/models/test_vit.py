import numpy as np
import pytest
import tensorflow as tf
from helpers import array, close, images, nano_vit, same

from ds_keras.core import cost
from ds_keras.core.visitor import Compute
from ds_keras.models import DSViT
from ds_keras.models.vit import SMALL, TINY, Row


@pytest.mark.parametrize(("size", "params", "madds"), [("tiny", 5.72e6, 1.26e9), ("small", 22.05e6, 4.60e9)])
def test_imagenet_is_deit(size, params, madds):
    """Within one percent of DeiT-Ti and DeiT-S; what the gate's attention adds is apart."""
    model = DSViT.imagenet(size=size, attention=False)
    level = len(model.levels) - 1
    assert cost.params(model, level) == pytest.approx(params, rel=0.01)
    assert cost.madds(model, level) == pytest.approx(madds, rel=0.01)
    width = model.rows[-1].width
    own = DSViT.imagenet(size=size)
    assert cost.params(own, level) - cost.params(model, level) == width + 2 * width * (width // 4) + width // 4
    assert not model.built


def test_cifar_costs_at_most_80_million():
    assert cost.madds(DSViT.cifar(10), 3) < 80e6


@pytest.mark.parametrize("rows", [TINY, SMALL])
def test_costs_follow_the_slices(rows):
    """Linear parts fall with the square, scores with the heads; every row keeps the ratios of DeiT."""
    model = DSViT.imagenet(size="tiny" if rows is TINY else "small")
    full, tokens = rows[-1], 197
    for level, row in enumerate(rows):
        ratio = row.width / full.width
        assert row.heads / full.heads == row.mlp / full.mlp == ratio
        assert model.levels[level].ratios == {"embedding": ratio, "heads": ratio, "mlp": ratio}
        attention = model.blocks[-1].attention.madds_at((None, tokens, row.width), level)
        scores = 2 * tokens**2 * 64 * row.heads
        assert attention - scores == pytest.approx(ratio**2 * 4 * tokens * full.width**2, rel=0.05)
        assert scores == pytest.approx(ratio * 2 * tokens**2 * full.width, rel=0.05)
        mlp = model.blocks[-1].expand.madds_at((None, tokens, row.width), level)
        assert mlp == pytest.approx(ratio**2 * tokens * full.width * full.mlp, rel=0.05)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_idle_part_is_read_by_the_head_only(level):
    """What lies idle does not change what the blocks compute, and it does change the logits."""
    model = nano_vit()
    features, _ = model.start(Compute(level), tf.constant(images(2)))
    width = model.rows[level].width
    changed = array(features)
    changed[..., width:] = changed[..., width:] * 1.5 + 0.3
    visitors = [_Keep(level, model.rejoin) for _ in range(2)]
    logits = [
        array(model.body(visitor, tf.constant(x))) for visitor, x in zip(visitors, (features, changed), strict=True)
    ]
    (stream, active), (other, same_active) = (visitor.kept for visitor in visitors)
    same(active, same_active)
    assert active.shape[-1] == width and stream.shape[-1] == 12
    assert (np.abs(logits[0] - logits[1]).max() > 0.05) == (level < 2)
    assert (np.abs(stream - other).max() > 0) == (level < 2)


class _Keep(Compute):
    """Keeps what one layer reads."""

    def __init__(self, level, layer):
        super().__init__(level)
        self.layer = layer

    def apply(self, layer, x):
        if layer is self.layer:
            self.kept = [array(part) for part in x]
        return super().apply(layer, x)


def test_an_untrained_block_leaves_the_stream_nearly_alone():
    model = DSViT.cifar(10)
    model.build()
    x = np.random.default_rng(0).normal(size=(2, 64, 48)).astype("float32")
    y = model.blocks[3](x, level=0)
    assert 0 < np.abs(y - x).max() < 0.5


def test_other_image_sizes_are_refused():
    model = nano_vit()
    with pytest.raises(ValueError, match=r"images must be numbers of shape \(count, 8, 8, 1\), received"):
        model(images(2, 12), level=0)
    close(model(images(2), level=0), tf.function(lambda x: model(x, level=0))(images(2)), tolerance=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": (Row(4, 1, 6),)}, "rows must have at least two levels, received 1"),
        (
            {"rows": (Row(8, 1, 6), Row(4, 1, 6))},
            r"rows: width must be .* not decrease, received \[8, 4",
        ),
        ({"rows": (Row(4, 0, 6), Row(4, 1, 6))}, "rows: heads must be positive"),
        ({"shared_depth": 3}, r"shared_depth must be in \[0, depth=3\), received 3"),
        ({"patch": 3, "stem": ()}, "patch must divide the image"),
        ({"patch": 0, "stem": ()}, "patch must divide the image"),
        ({"rows": (Row(4, 1, 6, 1), Row(4, 1, 6))}, r"depth must be None in all, .* 2 blocks .* received \[1, None\]"),
        ({"rows": (Row(4, 1, 6, 1), Row(4, 1, 6, 1))}, "do not decrease up to the 2 blocks after the gate"),
        ({"rows": (Row(4, 1, 6, 0), Row(4, 1, 6, 2))}, "depth must be at least 1, received"),
        ({"rows": ({"width": 4}, {"width": 8})}, "rows must have the fields of Row"),
        ({"patch": 2}, r"2 \*\* len\(stem\)"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        nano_vit(**changes)


def test_unknown_size():
    with pytest.raises(ValueError, match="size must be 'tiny' or 'small', received 'huge'"):
        DSViT.imagenet(size="huge")
