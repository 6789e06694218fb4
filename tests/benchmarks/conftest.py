import pytest
from helpers import budgeted_nano, images

from ds_keras import export


@pytest.fixture(scope="session")
def network():
    """Three levels, images of different levels, a budget table: do not change it."""
    return budgeted_nano(images(24), points=9)


@pytest.fixture(scope="session")
def path(network, tmp_path_factory):
    """Its bundle, in one file."""
    return export.to_bundle(network, tmp_path_factory.mktemp("bundle") / "nano.dsbundle")
