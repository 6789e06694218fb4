import pytest
from helpers import array, close, fill_model, images, nano, tiny
from official import SHAPE, build, official

from ds_keras.benchmarks.torch_twin import masked_twin, torch_twin
from ds_keras.export import subnet
from ds_keras.export.subnet import route_network
from ds_keras.models import DSMobileNet, DSViT
from ds_keras.models.mobilenet import Stage


@pytest.fixture(scope="module", autouse=True)
def _torch():
    """Not while the tests are collected, which every worker of pytest-xdist does: PyTorch takes long to import."""
    pytest.importorskip("torch", reason="needs PyTorch: pip install ds_keras[convert]")


@pytest.mark.parametrize(("make", "level"), [(tiny, 2), (nano, 0)])
@pytest.mark.parametrize("fold", [True, False])
def test_equals_keras(make, level, fold):
    shape = (8, 8, 1) if make is tiny else (7, 8, 1)  # an odd side too: one-sided padding
    model, x = make(input_shape=shape), images(3)[:, : shape[0]]
    close(torch_twin(subnet(model, level, fold))(x), model(x, level=level))


@pytest.mark.parametrize("make", [pytest.param(tiny, marks=pytest.mark.slow), nano])
def test_masks_at_full_width_equal_every_level(make):
    model, x = make(), images(6)
    run = masked_twin(model)
    for level in range(len(model.levels)):
        for i in range(3):
            close(run(x[i : i + 1], level=level), model(x[i : i + 1], level=level))


def test_converted_networks():
    """Which pad as PyTorch does, by a layer of its own."""
    model, x = build(official()), images(2, SHAPE[0], SHAPE[-1])
    run = masked_twin(model)
    for level in (0, len(model.levels) - 1):
        expected = model(x, level=level)
        close(torch_twin(subnet(model, level, fold_batch_norm=True))(x), expected)
        close(run(x[:1], level=level), expected[:1])


@pytest.mark.slow
def test_the_official_layout():
    model, x = fill_model(DSMobileNet.imagenet(10, levels=[0, 4, 9, 13], input_shape=(64, 64, 3))), images(1, 64, 3)
    run = masked_twin(model)
    for level in range(4):
        expected = model(x, level=level)
        close(run(x, level=level), expected)
        close(torch_twin(subnet(model, level))(x), expected)


def test_the_gate_picks_the_masks():
    model, x = tiny(), images(6)
    run = masked_twin(model)
    chosen = array(route_network(model)(x)["gate"]).argmax(-1)  # without the budget's shift, as the published code
    assert len(set(chosen)) > 1
    for i, level in enumerate(chosen):
        close(run(x[i : i + 1]), model(x[i : i + 1], level=int(level)))


def test_masks_are_for_widths():
    stages = (Stage(6, 1), Stage((4, 6), 1, 2, gate=True), Stage((4, 8), 1, kernel=(3, 5)))
    with pytest.raises(ValueError, match="levels must differ in width alone"):
        masked_twin(nano(stages=stages))


def test_other_layers_are_named():
    with pytest.raises(ValueError, match="network must be of plain convolutional layers, received '.+', a "):
        torch_twin(subnet(DSViT.cifar(3), 0))
