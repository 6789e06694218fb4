"""LC-ResNet: the three ways to skip agree, what is skipped does not run, and costs are what runs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import close, images, nano_lc

from ds_keras.core.levels import require_levels
from ds_keras.lcnet.model import LCStage
from ds_keras.lcnet.skipping import in_conditional, in_full, in_sub_batches
from ds_keras.models import LCResNet

KINDS = {
    "both": {},
    "layers": {"groups": 0},
    "channels": {"layers": False},
    "neither": {"layers": False, "groups": 0},
    "bottleneck of single channels": {"block": "bottleneck", "groups": 4, "seed": 4},
    "bottleneck": {"block": "bottleneck"},
    "single_channels": {"groups": 8},
}
ONE = (LCStage(8, 1),)  # block
QUICK = ["both", "neither", "bottleneck of single channels"]  # the others are parts of these
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in KINDS if name not in QUICK]


@pytest.fixture(scope="module", params=[*QUICK, *SLOW])
def model(request):
    return nano_lc(**KINDS[request.param])


@pytest.fixture(scope="module")
def x():
    return images(12)


def test_summary_shows_every_shape():
    lines, model = [], nano_lc(stem_padding="symmetric")
    model.summary(print_fn=lambda text, line_break=None: lines.append(text))
    text = "\n".join(lines)
    assert "?" not in text and "unbuilt" not in text and "(None, 8, 8," in text and "(None, 3)" in text


def test_the_ways_to_skip_agree(model, x):
    full, predicted = model.forward(x, in_full)
    assert predicted.shape == (12, len(model.units))
    close(model.forward(x, in_sub_batches)[0], full)
    close(tf.concat([model.forward(x[i : i + 1], in_conditional)[0] for i in range(3)], 0), full[:3])
    close(model(x), full)
    close(model.predict(x, verbose=0), full)
    close(model.run(x, batch_size=5).logits, full)


def test_images_differ_in_what_they_skip(model, x):
    if model.units:
        on = model.run(x).scales > 0
        assert 0 < on.mean() < 1 and len(np.unique(on, axis=0)) > 1


def test_it_equals_plain_keras_layers_where_nothing_is_skipped():
    model = nano_lc(layers=False, groups=0)
    x = y = keras.Input((8, 8, 1))
    y = model.rescale(y)
    for layer in model.stem:
        y = layer(y)
    for block in model.blocks:
        z = block.project_norm(block.project(keras.ops.relu(block.norm(block.spatial(y)))))
        for layer in block.shortcut:
            y = layer(y)
        y = keras.ops.relu(y + z)
    plain = keras.Model(x, model.classifier(model.pool(y)))
    close(model(images(6)), plain(images(6)))
    assert model.madds == sum(
        int(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:-1] or (1,)))
        for layer in plain.layers
        if hasattr(layer, "kernel")
    ) + int(np.prod(model.pool.input.shape[1:]))


def test_a_skipped_branch_does_not_run(x):
    ran = []

    def branch(part):
        ran.append(len(part))
        return part

    scale = tf.constant([0.0, 0.5, 0.0, 1.0])
    y = in_sub_batches(tf.zeros([4, 8, 8, 1]), scale, branch, tf.constant(x[:4]))
    assert ran == [2]
    close(y, np.array([0, 0.5, 0, 1])[:, None, None, None] * x[:4])
    same = in_sub_batches(y, tf.zeros(4), branch, tf.constant(x[:4]))
    assert ran == [2]
    close(same, y)
    close(in_conditional(y[:1], tf.zeros(1), branch, tf.constant(x[:1])), y[:1])
    assert ran == [2]


def test_madds_are_what_runs():
    model = nano_lc()
    rest, costs = model.costs()
    assert [len(costs), len(model.units)] == [2, 6]
    whole = np.ones((1, 6), "float32")

    def count(scales):
        return pytest.approx(model.run(images(1), scales=scales).madds[0], rel=1e-6)

    assert count(whole) == model.madds
    least = rest + sum(c.always for c in costs)
    assert count(0 * whole) == least
    one_block = whole * 0
    one_block[0, 0] = 1  # its groups are off
    assert count(one_block) == least + costs[0].block
    one_block[0, 1] = 0.1
    assert count(one_block) == least + costs[0].block + costs[0].group
    groups_of_a_skipped_block = whole * 0
    groups_of_a_skipped_block[0, 1:3] = 1
    assert count(groups_of_a_skipped_block) == least


ODD = {"block": "bottleneck", "stages": (LCStage(8, 1, 2), LCStage(8, 1, 2)), "stem_stride": 2, "stem_pool": True}


@pytest.mark.parametrize("kernel", [3, 4])  # of an even kernel the border is one short: the map may be a row smaller
@pytest.mark.parametrize("stride_in", ["1x1", "3x3"])
def test_shapes_and_costs_at_odd_sizes(kernel, stride_in):
    model = nano_lc(**ODD, input_shape=(33, 18, 1), stem_kernel=kernel, stride_in=stride_in, stem_padding="symmetric")
    x, shapes, expected = tf.zeros((1, 33, 18, 1)), model.output_shapes(), 0
    for layer in (*model.border, *model.stem):
        x = layer(x)
        expected += layer.kernel.shape.num_elements() * x.shape[1] * x.shape[2] if layer is model.stem[0] else 0
        assert x.shape[1:] == shapes[layer][1:]
    sizes = []
    for block in model.blocks:
        sizes.append(x.shape[1:3])
        x = block(x, scales=None, how=in_full)
        assert x.shape[1:] == shapes[block][1:]
    rest, costs = model.costs()
    assert rest == expected + 8 * x.shape[1] * x.shape[2] + 8 * 3
    assert costs == [block.costs(*size) for block, size in zip(model.blocks, sizes, strict=True)]


def test_counts_of_resnet_50():
    """tests/models/test_resnet.py counts the same in the version with the stride in the first convolution."""
    model = LCResNet.imagenet(layers=False, groups=0)
    assert 1.0 < model.madds / 3.858e9 < 1.07
    model.build()
    assert sum(int(np.prod(v.shape)) for v in model.trainable_weights) == 25_557_032  # the published network


def test_scales_can_be_given(model, x):
    scales = np.random.default_rng(0).uniform(0, 1, (12, len(model.units)))
    close(model.run(x, scales=scales).logits, model.forward(x, in_full, scales=tf.constant(scales, tf.float32))[0])
    wrong = [scales[:5], scales + 2, np.full_like(scales, np.nan)] if model.units else [scales[:5]]
    for given in wrong:
        with pytest.raises(ValueError, match=r"scales must have shape \(12, \d+\) and lie in \[0, 1\], received"):
            model.run(x, scales=given)


def test_predictors_begin_as_one(x):
    model = LCResNet(8, (LCStage(8, 1),), 3, (8, 8, 1), 3, 1, False, "basic", groups=2)
    assert np.all(model.run(x).scales == 1)
    assert model.run(x).madds[0] == model.madds


def test_other_sizes_and_no_images(model):
    assert model(images(2, 12), training=True).shape == (2, 3)
    empty = model.run(np.zeros((0, 8, 8, 1)))
    assert empty.logits.shape == (0, 3) and empty.madds.shape == (0,)
    for use in (model, model.run):
        message = r"shape \(count, 8, 8, 1\), received float32 \(2, 12, 12, 1\): model\.classify takes"
        with pytest.raises(ValueError, match=message):
            use(images(2, 12))
    (found,) = model.classify(images(1, 12)[0], top=1)
    assert found.level is None and 0 < found.madds <= model.madds
    with pytest.raises(ValueError, match=r"x must have shape \(batch, height, width, 1\)"):
        model(images(2, channels=3))


def test_sizes_that_are_known_at_run_time_only(model):
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 1))])
    close(run(images(3, 8)), model(images(3, 8)))


def test_groups_of_a_skipped_block_do_not_run():
    model = nano_lc(stages=ONE)
    for block in model.blocks:
        block.predictor.kernel.assign(tf.zeros_like(block.predictor.kernel))
        block.predictor.bias.assign([-1.0, 1.0, 1.0])
    executed = model.run(images(2))
    assert np.all(executed.scales == 0)
    close(executed.logits, model.run(images(2), scales=executed.scales).logits)


def test_what_belongs_to_supernets(model):
    assert not hasattr(model, "levels") and not hasattr(model, "predict_routed")
    with pytest.raises(ValueError, match="an LCResNet has no slice levels: .*model.madds"):
        require_levels(model)
    with pytest.raises(ValueError, match=r"model must be a supernet \(DSMobileNet, DSResNet, DSViT\), received Layer"):
        require_levels(keras.layers.Layer())


def test_keras_file_and_config(model, x, tmp_path):
    model.save(tmp_path / "model.keras")
    close(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))
    twin = model.clone()
    close(twin(x), model(x))
    assert twin.units == model.units
    config = model.get_config()
    former = {name: value for name, value in config.items() if name not in ("stem_padding", "stride_in")}
    assert LCResNet.from_config(former).get_config() == config  # of a preset of before these were arguments


def test_bfloat16(x):
    model = nano_lc(stages=ONE)
    half = model.clone("mixed_bfloat16")
    assert half(x).dtype == tf.float32
    given = model.run(x).scales
    difference = np.abs(half.run(x, scales=given).logits - model.run(x, scales=given).logits)
    assert difference.max() < 0.1 * max(1, np.abs(model(x)).max())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"groups": 3}, "groups must be 0, or divide"),
        ({"groups": -1}, "groups must be 0, or divide"),
        ({"block": "wide"}, r"block must be one of \('bottleneck', 'basic'\), received 'wide'"),
        ({"stages": ()}, "stages must have a row"),
        ({"stages": (LCStage(8, 0),)}, "every number a positive integer"),
        ({"stages": (LCStage("8", 1),)}, "every number a positive integer"),
        ({"block": "bottleneck", "stages": (LCStage(3, 1),)}, "every width of a bottleneck at least 4"),
        ({"groups": "2"}, "groups must be 0, or divide .* received '2'"),
        ({"groups": True}, "groups must be 0, or divide .* received True"),
        ({"stem": 0}, "stem must be a positive integer, received 0"),
        ({"layers": "no"}, "layers must be True or False, received 'no'"),
        ({"stages": ({"depth": 1},)}, "rows with the fields of LCStage"),
        ({"constant": 1}, "constant must be True or False, received 1"),
        ({"activation": None}, "activation must be the name of one, received None"),
        ({"stages": (LCStage(8, 1, always=-1),)}, "always must be an integer of at least 0"),
        ({"stride_in": "2x2"}, r"stride_in must be one of \('3x3', '1x1'\), received '2x2'"),
        ({"stem_padding": "valid"}, r"stem_padding must be one of \('same', 'symmetric'\), received 'valid'"),
        ({"num_classes": 1}, "num_classes must be an integer of at least 2"),
    ],
)
def test_bad_tables(kwargs, message):
    given = {"stem": 4, "stages": (LCStage(8, 1),), "num_classes": 3, "input_shape": (8, 8, 1), "block": "basic"}
    with pytest.raises(ValueError, match=message):
        LCResNet(**{**given, **kwargs})
