import numpy as np
import pytest
from helpers import array, close, images, nano, nano_resnet, nano_v2, nano_vit

from ds_keras.convert import importance, order_channels

X, Y = images(24), np.arange(24) % 3
BATCHES = [(X[:12], Y[:12]), (X[12:], Y[12:])]
MAKE = {"mobilenet": nano, "mobilenet_v2": nano_v2, "resnet": nano_resnet, "attention": lambda: nano_v2(attention=True)}


CASES = [(name, criterion) for name in MAKE for criterion in importance.CRITERIA]
QUICK = {importance.CRITERIA[-1]: ["mobilenet", "mobilenet_v2", "resnet"]}  # the other criteria: one network


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        pytest.param(*case, marks=[] if case[0] in QUICK.get(case[1], ["mobilenet_v2"]) else pytest.mark.slow)
        for case in CASES
    ],
)
def test_the_largest_level_stays(name, criterion):
    model = MAKE[name]()
    expected, smaller = array(model(X, level=2)), array(model(X, level=0))
    orders = order_channels(model, criterion, BATCHES)
    close(model(X, level=2), expected)
    assert np.abs(array(model(X, level=0)) - smaller).max() > 1e-3
    assert all(sorted(order) == list(range(len(order))) for order in orders.values())


def test_a_residual_stream_is_one_group():
    groups = importance.channel_groups(nano_v2())
    made = [layer.name for layer in groups["stage2_block1_project"][0]]
    assert made == [f"stage2_block{j}_project{part}" for j in (1, 2) for part in ("", "_norm")]
    read = [layer.name for layer in groups["stage2_block1_project"][1]]
    assert read == ["stage2_block2_expand", "stage3_block1_expand"]
    hidden = [layer.name for layer in groups["stage2_block2_expand"][0]]
    assert hidden == [f"stage2_block2_{part}" for part in ("expand", "expand_norm", "depthwise", "depthwise_norm")]


@pytest.mark.parametrize("criterion", importance.CRITERIA)
def test_a_channel_that_nothing_reads_comes_last(criterion):
    """...and a second ordering changes nothing."""
    model = nano_v2()
    for name in ("expand",):
        for layer in importance.channel_groups(model)["stage2_block1_project"][1]:
            kernel = array(layer.kernel)
            kernel[:, :, 3] = 0
            layer.kernel.assign(kernel)
        assert name
    assert order_channels(model, criterion, BATCHES)["stage2_block1_project"][-1] == 3
    again = order_channels(model, criterion, BATCHES)
    assert all(list(order) == list(range(len(order))) for order in again.values())


def test_what_every_level_runs_whole_stays_in_place():
    model = nano_v2()
    stem = array(model.stem[0].kernel)
    assert not any(name.startswith(("stem", "stage1")) for name in order_channels(model))
    np.testing.assert_array_equal(model.stem[0].kernel, stem)


def test_bad_arguments():
    with pytest.raises(ValueError, match="criterion must be one of"):
        order_channels(nano_v2(), "norm")
    with pytest.raises(ValueError, match="dataset must be given"):
        order_channels(nano_v2(), "taylor")
    with pytest.raises(ValueError, match="at least one batch"):
        order_channels(nano_v2(), "taylor", [])
    with pytest.raises(ValueError, match="networks of convolutions"):
        order_channels(nano_vit())
