import pytest
from helpers import close, images, nano, tiny

from ds_keras.export import subnet
from ds_keras.models import DSViT
from ds_keras.torch_twin import torch_twin

pytest.importorskip("torch", reason="needs PyTorch: pip install ds_keras[convert]")


@pytest.mark.parametrize("make", [tiny, nano])
@pytest.mark.parametrize("level", [0, 2])
def test_equals_keras(make, level):
    model = make()
    x = images(3) if make is tiny else images(3)[:, :7]  # an odd side too: one-sided padding
    close(torch_twin(subnet(model, level, fold_batch_norm=True))(x), model(x, level=level))


def test_other_layers_are_named():
    with pytest.raises(ValueError, match="network must be of plain convolutional layers, received '.+', a "):
        torch_twin(subnet(DSViT.cifar(3), 0))
    with pytest.raises(ValueError, match="a BatchNormalization"):
        torch_twin(subnet(nano(), 0))
