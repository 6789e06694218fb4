import keras
import numpy as np
import pytest
from helpers import array, close, fill, images

from ds_keras.convert import from_keras_mobilenet, from_keras_mobilenet_v2
from ds_keras.core import cost
from ds_keras.models import DSMobileNet

CASES = {
    "MobileNet": (from_keras_mobilenet, keras.applications.mobilenet),
    "MobileNetV2": (from_keras_mobilenet_v2, keras.applications.mobilenet_v2),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """The importer, a network with random weights, two images, its logits for them, and what the importer makes."""
    convert, module = CASES[request.param]
    network = getattr(module, request.param)(
        weights=None, input_shape=(96, 96, 3), classes=5, classifier_activation=None
    )
    fill(network)
    x = images(2, 96, 3)
    return convert, network, x, array(network(module.preprocess_input(x.copy()))), convert(network)


def test_the_largest_level_gives_the_logits(case):
    _, _, x, expected, model = case
    assert np.abs(expected).max() > 0.1
    close(model(x, level=3), expected)


def test_order(case):
    convert, network, x, expected, model = case
    plain = convert(network, order=False)
    close(plain(x, level=3), expected)
    assert np.abs(np.array(model(x, level=1)) - np.array(plain(x, level=1))).max() > 1e-3


def test_another_network_is_refused(case):
    convert, network, *_ = case
    with pytest.raises(ValueError, match="must have its top"):
        convert(keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match="without model="):
        convert(network, DSMobileNet.v1(5), dropout=0.1)


def test_another_width_is_refused():
    network = keras.applications.MobileNet(weights=None, input_shape=(96, 96, 3), classes=5, alpha=0.5)
    with pytest.raises(ValueError, match="conv1 must have weights of shape"):
        from_keras_mobilenet(network)


def test_v1_has_the_published_size():
    model = DSMobileNet.v1()
    assert cost.params(model, 3) / 1e6 == pytest.approx(4.23, rel=0.005)
    assert cost.madds(model, 3) / 1e6 == pytest.approx(569, rel=0.005)
    assert cost.madds(model, 0) / cost.madds(model, 3) <= 0.12
